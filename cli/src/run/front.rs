//! Options of what stands in front of a listener, the same for both planes.

use anyhow::Context as _;
use ipnet::IpNet;
use listen::front::{Front, Tells};

/// Load balancers.
#[derive(Debug, clap::Args)]
pub(super) struct FrontOptions {
    /// Network or address of a load balancer in front, which has to say whose its connections are; repeatable. Nobody else is
    /// believed
    #[arg(long, env = "PORTCULLIS_FRONT", value_delimiter = ',', value_parser = network, requires = "front_tells")]
    front: Vec<IpNet>,
    /// How they say it: proxy-protocol (version 1 or 2), forwarded (RFC 7239) or x-forwarded-for
    #[arg(long, env = "PORTCULLIS_FRONT_TELLS", requires = "front")]
    front_tells: Option<Tells>,
    /// Callers speak TLS to them: what they send on may be plain HTTP on any address, and nobody may connect past them
    #[arg(long, env = "PORTCULLIS_FRONT_ENDS_TLS", requires = "front")]
    front_ends_tls: bool,
}

impl FrontOptions {
    /// `None` where none are declared.
    pub(super) fn front(self) -> anyhow::Result<Option<Front>> {
        let Some(tells) = self.front_tells else { return Ok(None) };
        Front::new(self.front, tells, self.front_ends_tls).context("--front").map(Some)
    }
}

/// A network, or an address as the network of it alone.
fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<std::net::IpAddr>().map(IpNet::from);
    text.parse().or_else(|_| address()).map_err(|_| "neither a network nor an address".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        front: FrontOptions,
    }

    fn parsed(arguments: &str) -> anyhow::Result<Option<Front>> {
        Command::try_parse_from(["it"].into_iter().chain(arguments.split_whitespace()))?.front.front()
    }

    #[test]
    fn who_stands_in_front_has_to_say_how_it_speaks() {
        assert_eq!(parsed("").unwrap(), None);
        let front = parsed("--front 10.0.0.0/8,2001:db8::7 --front-tells forwarded").unwrap().unwrap();
        assert!(front.declares("2001:db8::7".parse().unwrap()) && !front.ends_tls());
        assert!(parsed("--front 10.0.0.7 --front-tells proxy-protocol --front-ends-tls").unwrap().is_some());
        for wrong in [
            "--front 10.0.0.7",
            "--front-tells forwarded",
            "--front-ends-tls",
            "--front 0.0.0.0/0 --front-tells forwarded",
            "--front balancer --front-tells forwarded",
            "--front 10.0.0.7 --front-tells x-real-ip",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}

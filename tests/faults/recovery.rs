//! Recovery without a herd: what comes back has what it had, and asks for what has changed since and nothing else.

use harness::Site;

/// Tenants that the first control plane has sent whole.
pub(crate) struct Sent {
    whole: u64,
}

impl Sent {
    pub(crate) async fn so_far(site: &Site) -> Self {
        let url = format!("http://127.0.0.1:{}/metrics", site.control_ports(0)[3]);
        let metrics = reqwest::get(url).await.unwrap().text().await.unwrap();
        let count = |name: &str| {
            metrics
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .map_or(0, |count| count.trim().parse().unwrap())
        };
        assert!(metrics.contains("portcullis_proxies_connected"), "these are not the metrics:\n{metrics}");
        Self { whole: count("portcullis_config_sent_total{kind=\"whole\"}") }
    }

    /// Since then no tenant was sent whole. A control plane that was started again counts from nothing.
    pub(crate) async fn nothing_again(self, site: &Site, started_again: bool) {
        let now = Self::so_far(site).await;
        let before = if started_again { 0 } else { self.whole };
        assert_eq!(now.whole, before, "proxies that held everything were sent everything again");
    }
}

//! Names of counters. Each begins with its tenant in braces, so that a Redis Cluster keeps all of a tenant's in one slot and
//! one script may use them together.

use std::fmt;

use ids::{ClientId, EndpointId, KeyId, MemberId, TenantId, ToolId};
use redis::{RedisWrite, ToRedisArgs, ToSingleRedisArg};

/// Whose calls are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The whole tenant's.
    Tenant,
    /// One client's.
    Client(ClientId),
    /// One tool's.
    Tool(ToolId),
    /// One endpoint's.
    Endpoint(EndpointId),
    /// Those for one member.
    Member(MemberId),
    /// Those with one API key.
    Key(KeyId),
}

/// Which of a subject's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Counter {
    /// Rate of calls.
    Calls,
    /// Rate of everything else.
    Protocol,
    /// Budget of calls for a day.
    Day,
    /// Budget of calls for a month.
    Month,
}

/// The name of what proxies hold of how many of a subject's calls may run at once. Never changes either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PermitsKey {
    /// Whose.
    pub tenant: TenantId,
    /// Of what.
    pub subject: Subject,
}

/// A counter's name. The text is a contract between proxies of different versions, and with the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CounterKey {
    /// Whose.
    pub tenant: TenantId,
    /// Of what.
    pub subject: Subject,
    /// Which.
    pub counter: Counter,
}

impl fmt::Display for CounterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_subject(f, self.tenant, self.subject)?;
        f.write_str(match self.counter {
            Counter::Calls => ":calls",
            Counter::Protocol => ":protocol",
            Counter::Day => ":day",
            Counter::Month => ":month",
        })
    }
}

impl fmt::Display for PermitsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_subject(f, self.tenant, self.subject)?;
        f.write_str(":running")
    }
}

fn write_subject(f: &mut fmt::Formatter<'_>, tenant: TenantId, subject: Subject) -> fmt::Result {
    write!(f, "{{{tenant}}}:limit:")?;
    match subject {
        Subject::Tenant => f.write_str("tenant"),
        Subject::Client(id) => write!(f, "{id}"),
        Subject::Tool(id) => write!(f, "{id}"),
        Subject::Endpoint(id) => write!(f, "{id}"),
        Subject::Member(id) => write!(f, "{id}"),
        Subject::Key(id) => write!(f, "{id}"),
    }
}

impl ToRedisArgs for CounterKey {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        out.write_arg_fmt(self);
    }
}

impl ToSingleRedisArg for CounterKey {}

impl ToRedisArgs for PermitsKey {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        out.write_arg_fmt(self);
    }
}

impl ToSingleRedisArg for PermitsKey {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_never_change() {
        let tenant = TenantId::from_parts(1_800_000_000_000, [1; 10]);
        let key = |subject, counter| CounterKey { tenant, subject, counter }.to_string();
        let client = Subject::Client(ClientId::from_parts(1_800_000_000_000, [2; 10]));
        assert_eq!(
            PermitsKey { tenant, subject: client }.to_string(),
            "{tnt_01mcc5rm00e40r2081040g2081}:limit:cl_01mcc5rm00e81840g2081040g2:running"
        );
        let tool = Subject::Tool(ToolId::from_parts(1_800_000_000_000, [3; 10]));
        assert_eq!(
            [key(Subject::Tenant, Counter::Calls), key(client, Counter::Protocol), key(tool, Counter::Calls),],
            [
                "{tnt_01mcc5rm00e40r2081040g2081}:limit:tenant:calls",
                "{tnt_01mcc5rm00e40r2081040g2081}:limit:cl_01mcc5rm00e81840g2081040g2:protocol",
                "{tnt_01mcc5rm00e40r2081040g2081}:limit:tool_01mcc5rm00ec1r60r30c1g60r3:calls"
            ]
        );
        let at = 1_800_000_000_000;
        let others = [
            Subject::Endpoint(EndpointId::from_parts(at, [4; 10])),
            Subject::Member(MemberId::from_parts(at, [5; 10])),
            Subject::Key(KeyId::from_parts(at, [6; 10])),
        ];
        assert_eq!(
            others.map(|subject| key(subject, Counter::Calls)),
            [
                "{tnt_01mcc5rm00e40r2081040g2081}:limit:ep_01mcc5rm00eg2881040g208104:calls",
                "{tnt_01mcc5rm00e40r2081040g2081}:limit:mem_01mcc5rm00em2ra1850m2ga185:calls",
                "{tnt_01mcc5rm00e40r2081040g2081}:limit:key_01mcc5rm00er38c1g60r30c1g6:calls"
            ]
        );
    }
}

//! How long the parts of a call may take: as the server's configuration says, or the tool's.

use std::time::Duration;

/// Time-outs of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP and TLS together.
    pub connect: Duration,
    /// From the request's last byte to the response's first.
    pub first_byte: Duration,
    /// Between two reads of a response.
    pub idle: Duration,
    /// A whole call.
    pub total: Duration,
}

/// What a tool says of its own; `None`: as its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolTimeouts {
    /// See [`Timeouts::connect`].
    pub connect: Option<Duration>,
    /// See [`Timeouts::first_byte`].
    pub first_byte: Option<Duration>,
    /// See [`Timeouts::idle`].
    pub idle: Option<Duration>,
    /// See [`Timeouts::total`].
    pub total: Option<Duration>,
}

impl Timeouts {
    /// Those of a call of this tool.
    #[must_use]
    pub fn with(self, tool: Option<&ToolTimeouts>) -> Self {
        let Some(tool) = tool else { return self };
        Self {
            connect: tool.connect.unwrap_or(self.connect),
            first_byte: tool.first_byte.unwrap_or(self.first_byte),
            idle: tool.idle.unwrap_or(self.idle),
            total: tool.total.unwrap_or(self.total),
        }
    }
}

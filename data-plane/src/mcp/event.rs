//! One event of an upstream's stream: its message is looked at, its id sealed.

use ::mcp::sse::{self, Event, Frame};
use telemetry::metric;

use super::{
    answer::{Request, Said},
    speaker::Speaker,
};
use crate::upstream::UpstreamError;

/// What became of an event.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The response that was waited for.
    pub(super) answered: bool,
    /// It has an id to resume from.
    pub(super) resumable: bool,
    /// A question that is not passed on; its id.
    pub(super) declined: Option<Box<[u8]>>,
}

/// Looks at an event and appends to `out` what of it goes on. `request` is the one that the stream answers, `waiting` the same
/// while it has no response.
///
/// # Errors
/// When its message cannot be passed on, and so the stream fails where something waits.
pub(super) fn hear(
    event: &Event<'_>,
    speaker: &Speaker,
    waiting: Option<&Request>,
    request: Option<&Request>,
    out: &mut Vec<u8>,
) -> Result<Heard, UpstreamError> {
    let mut heard = Heard::default();
    // Clients know one kind of event; another one's data would pass unseen.
    let is_message = event.event.is_none_or(|name| name == b"message");
    let data = event.data.as_deref().filter(|data| is_message && !data.is_empty());
    let mut rewritten = None;
    let mut passed = data.is_none();
    if let Some(data) = data {
        match speaker.hear(waiting, data)? {
            Said::Answer { rewritten: bytes, .. } => {
                heard.answered = true;
                passed = true;
                rewritten = bytes;
            }
            Said::Pass(bytes) => {
                passed = true;
                rewritten = bytes;
            }
            Said::Declined(id) => heard.declined = Some(id),
            Said::Withheld => {}
        }
        if !passed {
            metrics::counter!(metric::UPSTREAM_MESSAGES_WITHHELD).increment(1);
        }
    }
    let id = match event.id.and_then(|id| std::str::from_utf8(id).ok()) {
        None => None,
        // An empty id resets what the client would resume from.
        Some("") => Some(String::new()),
        Some(id) => {
            heard.resumable = true;
            let request = request.map(|request| (request.method, &*request.id));
            Some(speaker.handles.seal_event_id(id, request, &*speaker.entropy)?)
        }
    };
    let data = data.filter(|_| passed);
    let as_it_came = id.is_none() && event.retry.is_none() && !event.comment && rewritten.is_none();
    // Other line ends than LF are not passed on: a CR at a chunk's end could be taken for half of one.
    if data.is_some() && as_it_came && !event.raw.contains(&b'\r') {
        out.extend_from_slice(event.raw);
    } else if let Some(data) = data {
        let data = rewritten.as_deref().unwrap_or(data);
        let name = event.event.map(|_| "message");
        sse::encode(out, Frame { event: name, id: id.as_deref(), retry: event.retry, data });
    } else if is_message && event.data.as_deref().is_some_and(<[u8]>::is_empty) {
        // The event with an empty message, from which a stream can be resumed that has said nothing yet.
        sse::encode(out, Frame { event: None, id: id.as_deref(), retry: event.retry, data: b"" });
    } else {
        place_to_resume(out, id.as_deref(), event.retry);
    }
    Ok(heard)
}

/// What is left of an event whose message is not passed on, or that had none: where to resume, and when. Clients see no
/// event.
fn place_to_resume(out: &mut Vec<u8>, id: Option<&str>, retry: Option<u64>) {
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(id.as_bytes());
        out.push(b'\n');
    }
    if let Some(retry) = retry {
        out.extend_from_slice(format!("retry: {retry}\n").as_bytes());
    }
    if id.is_some() || retry.is_some() {
        out.push(b'\n');
    }
}

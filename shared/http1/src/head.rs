//! A response's head: status, the fields that are looked at, and where the body will end (RFC 9112 section 6.3).

use std::mem::MaybeUninit;

use http::StatusCode;

use crate::framing::Framing;

/// Bytes a head may have.
pub const MAX_HEAD: usize = 64 * 1024;
/// Fields a head may have.
const MAX_FIELDS: usize = 100;

/// A head, read.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes it took.
    pub length: usize,
    /// Informational: an interim response, behind which another head follows.
    pub status: StatusCode,
    /// Where the body ends.
    pub framing: Framing,
    /// The server keeps the connection after the body.
    pub persistent: bool,
}

/// What the bytes are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not HTTP")]
pub struct NotHttp;

/// What the framing fields of a head say.
#[derive(Default)]
struct Said {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

/// Reads a head at the start of `input`, and gives each field of a final response to `field`; `None` if it is not whole.
///
/// # Errors
/// When it is no head of HTTP/1.0 or 1.1, has more than a hundred fields, is longer than [`MAX_HEAD`], changes the protocol,
/// or has two answers to where the body ends.
pub fn parse(input: &[u8], mut field: impl FnMut(&[u8], &[u8])) -> Result<Option<Head>, NotHttp> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut response, input, &mut fields)
        .map_err(|_| NotHttp)?;
    let httparse::Status::Complete(length) = parsed else {
        return if input.len() > MAX_HEAD { Err(NotHttp) } else { Ok(None) };
    };
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(NotHttp)?;
    let modern = response.version == Some(1);
    if status.is_informational() {
        // Nothing asked for a change of protocol.
        let interim = modern && status != StatusCode::SWITCHING_PROTOCOLS;
        let head = Head { length, status, framing: Framing::Done, persistent: true };
        return interim.then_some(Some(head)).ok_or(NotHttp);
    }
    let mut said = Said::default();
    for header in response.headers.iter() {
        said.hear(header.name.as_bytes(), header.value)?;
        field(header.name.as_bytes(), header.value);
    }
    let framing = match (said.chunked, said.length) {
        _ if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) => Framing::Done,
        // Two answers to where the body ends: one of them is an attack (RFC 9112 section 6.3, 3).
        (true, Some(_)) => return Err(NotHttp),
        (true, None) if modern => Framing::CHUNKED,
        (true, None) => return Err(NotHttp),
        (false, Some(length)) => Framing::length(length),
        (false, None) => Framing::Close,
    };
    let persistent = !said.close && (modern || said.keep_alive) && framing != Framing::Close;
    Ok(Some(Head { length, status, framing, persistent }))
}

impl Said {
    fn hear(&mut self, name: &[u8], value: &[u8]) -> Result<(), NotHttp> {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match name.len() {
            14 if is("content-length") => {
                let length = content_length(value)?;
                // The same twice is a mistake that says nothing new.
                if self.length.is_some_and(|other| other != length) {
                    return Err(NotHttp);
                }
                self.length = Some(length);
            }
            17 if is("transfer-encoding") => {
                // No other coding was offered, and none is known here.
                if self.chunked || !value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                    return Err(NotHttp);
                }
                self.chunked = true;
            }
            10 if is("connection") => {
                for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Digits and nothing else: no sign, no list.
fn content_length(value: &[u8]) -> Result<u64, NotHttp> {
    let value = value.trim_ascii();
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return Err(NotHttp);
    }
    Ok(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(input: &[u8]) -> Result<Option<Head>, NotHttp> {
        super::parse(input, |_, _| {})
    }

    fn head(text: &str) -> Result<Option<Head>, NotHttp> {
        parse(text.replace('\n', "\r\n").as_bytes())
    }

    fn framing(fields: &str) -> Result<(Framing, bool), NotHttp> {
        let head = head(&format!("HTTP/1.1 200 OK\n{fields}\n"))?.expect("a whole head");
        Ok((head.framing, head.persistent))
    }

    #[test]
    fn a_body_ends_where_the_head_says() {
        assert_eq!(framing("Content-Length: 5\n"), Ok((Framing::Length(5), true)));
        assert_eq!(framing("content-length: 5\nContent-Length: 5\n"), Ok((Framing::Length(5), true)));
        assert_eq!(framing("content-length: 0\n"), Ok((Framing::Done, true)));
        assert_eq!(framing("Transfer-Encoding: Chunked\n"), Ok((Framing::CHUNKED, true)));
        assert_eq!(
            framing("transfer-encoding: chunked\nconnection: x, Close\n"),
            Ok((Framing::CHUNKED, false))
        );
        assert_eq!(framing("a: b\n"), Ok((Framing::Close, false)));
        let old =
            |fields: &str| head(&format!("HTTP/1.0 200 OK\n{fields}\n")).map(|head| head.unwrap().persistent);
        assert_eq!(old("content-length: 1\n"), Ok(false));
        assert_eq!(old("content-length: 1\nconnection: keep-alive\n"), Ok(true));
        assert_eq!(old("transfer-encoding: chunked\n"), Err(NotHttp));
        for status in [204, 304] {
            let head = head(&format!("HTTP/1.1 {status} x\ncontent-length: 7\n\n")).unwrap().unwrap();
            assert_eq!((head.framing, head.persistent), (Framing::Done, true));
        }
    }

    /// RFC 9112 sections 6.1 and 6.3: what makes two readers disagree is refused.
    #[test]
    fn a_head_with_two_answers_to_where_the_body_ends_is_none() {
        for fields in [
            "content-length: 5\ncontent-length: 6\n",
            "content-length: 5\ntransfer-encoding: chunked\n",
            "transfer-encoding: chunked\ncontent-length: 5\n",
            "transfer-encoding: gzip, chunked\n",
            "transfer-encoding: chunked\ntransfer-encoding: chunked\n",
            "transfer-encoding: identity\n",
            "content-length: +5\n",
            "content-length: 5, 5\n",
            "content-length: 0x5\n",
            "content-length: 5 5\n",
            "content-length:\n",
            "content-length: 99999999999999999999\n",
            "content-length : 5\n",
            "x: y\n folded\n",
        ] {
            assert_eq!(framing(fields), Err(NotHttp), "{fields}");
        }
    }

    #[test]
    fn a_head_is_whole_or_waited_for_or_none() {
        let text = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nmcp-session-id: s\r\n\r\nrest";
        let mut fields = Vec::new();
        let note = |name: &[u8], value: &[u8]| {
            fields.push([name, value].map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()));
        };
        let got = super::parse(text.as_bytes(), note).unwrap().unwrap();
        assert_eq!((got.length, got.status.as_u16()), (text.len() - 4, 200));
        assert_eq!(fields, [["content-type", "text/event-stream"], ["mcp-session-id", "s"]]);
        for end in 0..text.len() - 4 {
            assert_eq!(parse(&text.as_bytes()[..end]), Ok(None), "{end}");
        }
        assert!(head("HTTP/1.1 103 x\nlink: y\n\nHTTP").unwrap().unwrap().status.is_informational());
        for text in [
            "HTTP/1.1 101 x\n\n",
            "HTTP/2 200 OK\n\n",
            "SSH-2.0-x\n",
            "HTTP/1.1 99 x\n\n",
            "HTTP/1.0 103 x\n\n",
        ] {
            assert_eq!(head(text), Err(NotHttp), "{text}");
        }
        let many = format!("HTTP/1.1 200 OK\n{}\n", "a: b\n".repeat(MAX_FIELDS + 1));
        assert_eq!(head(&many), Err(NotHttp));
        let long = format!("HTTP/1.1 200 OK\na: {}", "b".repeat(MAX_HEAD));
        assert_eq!(head(&long), Err(NotHttp));
    }
}

//! The members of `params`, `_meta`, `result` and `error` that something in the gateway decides on, found in the same
//! pass that validates the body. A member's place is kept whatever the method, because `method` may come last.

use std::{borrow::Cow, fmt};

use crate::raw::{Kind, Raw};
use crate::scan::{ScanError, Scanner, Span, StringSpan};

/// Members of one object that are kept.
trait Slots: Default {
    /// Names of the members kept.
    const NAMES: &'static [&'static str];
    /// Where to keep the span of the member with this name, if it is one of those kept.
    fn slot(&mut self, name: &str) -> Option<&mut Span>;
}

/// Declares the spans kept of one object, and a public view with an accessor for each.
macro_rules! view {
    ($(#[$doc:meta])* $view:ident over $spans:ident {
        $($(#[$field_doc:meta])* $field:ident $name:literal;)*
    }) => {
        #[derive(Debug, Clone, Copy, Default)]
        pub(super) struct $spans {
            $($field: Span,)*
        }

        impl Slots for $spans {
            const NAMES: &'static [&'static str] = &[$($name,)*];

            #[inline]
            fn slot(&mut self, name: &str) -> Option<&mut Span> {
                match name {
                    $($name => Some(&mut self.$field),)*
                    _ => None,
                }
            }
        }

        /// The text may be a caller's data, so only the places of members are shown.
        impl fmt::Debug for $view<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut shown = f.debug_struct(stringify!($view));
                $(
                    if let Some(value) = self.$field() {
                        shown.field($name, &value);
                    }
                )*
                shown.finish()
            }
        }

        impl<'a> $view<'a> {
            $(
                $(#[$field_doc])*
                #[must_use]
                #[inline]
                pub fn $field(&self) -> Option<Raw<'a>> {
                    present(self.text, self.spans.$field)
                }
            )*
        }
    };
}

view! {
    Meta over MetaSpans {
        /// `io.modelcontextprotocol/protocolVersion` (2026-07-28: required on requests).
        protocol_version "io.modelcontextprotocol/protocolVersion";
        /// `io.modelcontextprotocol/clientCapabilities` (2026-07-28: required on requests).
        client_capabilities "io.modelcontextprotocol/clientCapabilities";
        /// `io.modelcontextprotocol/clientInfo`: self-reported, never a reason for a decision.
        client_info "io.modelcontextprotocol/clientInfo";
        /// `io.modelcontextprotocol/logLevel`.
        log_level "io.modelcontextprotocol/logLevel";
        /// `io.modelcontextprotocol/subscriptionId`.
        subscription_id "io.modelcontextprotocol/subscriptionId";
        /// `io.modelcontextprotocol/related-task` (2025-11-25).
        related_task "io.modelcontextprotocol/related-task";
        /// `progressToken`.
        progress_token "progressToken";
        /// `traceparent` (W3C Trace Context).
        traceparent "traceparent";
        /// `tracestate` (W3C Trace Context).
        tracestate "tracestate";
        /// `baggage` (W3C Baggage).
        baggage "baggage";
    }
}

view! {
    Params over MemberSpans {
        /// `name` of `tools/call`, `prompts/get`.
        name "name";
        /// `uri` of `resources/read`, `resources/subscribe`, `notifications/resources/updated`.
        uri "uri";
        /// `arguments` of `tools/call`, `prompts/get`.
        arguments "arguments";
        /// `_meta`, whole; its known members are in [`Params::meta_members`].
        meta "_meta";
        /// `cursor` of list requests.
        cursor "cursor";
        /// `taskId` of `tasks/*`.
        task_id "taskId";
        /// `task`: asks for a call to run as a task (2025-11-25).
        task "task";
        /// `ref` of `completion/complete`.
        reference "ref";
        /// `argument` of `completion/complete`.
        argument "argument";
        /// `requestState` of a retried request (2026-07-28).
        request_state "requestState";
        /// `inputResponses` of a retried request or of `tasks/update` (2026-07-28).
        input_responses "inputResponses";
        /// `protocolVersion` of `initialize`.
        protocol_version "protocolVersion";
        /// `capabilities` of `initialize`.
        capabilities "capabilities";
        /// `clientInfo` of `initialize`: self-reported, never a reason for a decision.
        client_info "clientInfo";
        /// `level` of `logging/setLevel`, `notifications/message`.
        level "level";
        /// `notifications`: the filter of `subscriptions/listen`, or what an acknowledgement accepted.
        notifications "notifications";
        /// `requestId` of `notifications/cancelled`.
        request_id "requestId";
        /// `progressToken` of `notifications/progress`.
        progress_token "progressToken";
    }
}

view! {
    ResultMembers over ResultFields {
        /// `resultType` (2026-07-28: required).
        result_type "resultType";
        /// `isError` of a `tools/call` result.
        is_error "isError";
        /// `content` of a `tools/call` result.
        content "content";
        /// `structuredContent` of a `tools/call` result.
        structured_content "structuredContent";
        /// `requestState` of an `input_required` result.
        request_state "requestState";
        /// `inputRequests` of an `input_required` result.
        input_requests "inputRequests";
        /// `nextCursor` of a list.
        next_cursor "nextCursor";
        /// `taskId` of a task.
        task_id "taskId";
        /// `task` of a created task (2025-11-25).
        task "task";
        /// `protocolVersion` of an `initialize` result.
        protocol_version "protocolVersion";
        /// `capabilities` of an `initialize` or `server/discover` result.
        capabilities "capabilities";
        /// `supportedVersions` of a `server/discover` result.
        supported_versions "supportedVersions";
        /// `cacheScope` of a cacheable result.
        cache_scope "cacheScope";
        /// The list of a `tools/list` result.
        tools "tools";
        /// The list of a `prompts/list` result.
        prompts "prompts";
        /// The list of a `resources/list` result.
        resources "resources";
        /// The list of a `resources/templates/list` result.
        resource_templates "resourceTemplates";
        /// `_meta`, whole.
        meta "_meta";
    }
}

view! {
    ErrorMembers over ErrorSpans {
        /// `code`: an integer.
        code "code";
        /// `message`: a string.
        message "message";
        /// `data`: anything.
        data "data";
    }
}

/// `params` and the spans of the known members in it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ParamSpans {
    whole: Span,
    members: MemberSpans,
    meta: MetaSpans,
    misspelt: bool,
}

/// `result` and the spans of the known members in it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ResultSpans {
    whole: Span,
    members: ResultFields,
}

/// The `params` of a request or notification; every accessor is `None` when the member is absent.
///
/// An accessor says where a member is, not that it has the type the schema asks for.
#[derive(Clone, Copy)]
pub struct Params<'a> {
    text: &'a str,
    whole: Span,
    spans: MemberSpans,
    meta: MetaSpans,
    misspelt: bool,
}

/// Known members of `params._meta`.
#[derive(Clone, Copy)]
pub struct Meta<'a> {
    text: &'a str,
    spans: MetaSpans,
}

/// The `result` of a response; every accessor is `None` when the member is absent.
#[derive(Clone, Copy)]
pub struct ResultMembers<'a> {
    text: &'a str,
    whole: Span,
    spans: ResultFields,
}

/// The `error` of a response.
#[derive(Clone, Copy)]
pub struct ErrorMembers<'a> {
    text: &'a str,
    spans: ErrorSpans,
}

impl<'a> Params<'a> {
    pub(super) fn new(text: &'a str, spans: ParamSpans) -> Self {
        Self { text, whole: spans.whole, spans: spans.members, meta: spans.meta, misspelt: spans.misspelt }
    }

    /// Whether a member differs from a known one in case alone. Readers that ignore case, as Go's `encoding/json` does,
    /// would take it for the known one, and so read another message than the one that was decided on.
    #[must_use]
    pub fn misspelt(&self) -> bool {
        self.misspelt
    }

    /// `params` itself, an object; `None` when there are none.
    #[must_use]
    pub fn raw(&self) -> Option<Raw<'a>> {
        present(self.text, self.whole)
    }

    /// Known members of `_meta`; all absent when `_meta` is absent or not an object.
    #[must_use]
    pub fn meta_members(&self) -> Meta<'a> {
        Meta { text: self.text, spans: self.meta }
    }
}

impl<'a> ResultMembers<'a> {
    pub(super) fn new(text: &'a str, spans: ResultSpans) -> Self {
        Self { text, whole: spans.whole, spans: spans.members }
    }

    /// `result` itself, of any kind.
    #[must_use]
    pub fn raw(&self) -> Raw<'a> {
        Raw::at(self.text, self.whole)
    }
}

impl<'a> ErrorMembers<'a> {
    pub(super) fn new(text: &'a str, spans: ErrorSpans) -> Self {
        Self { text, spans }
    }
}

fn present(text: &str, span: Span) -> Option<Raw<'_>> {
    if span.is_absent() { None } else { Some(Raw::at(text, span)) }
}

/// Reads `params`; `None` (value skipped) when it is not an object.
pub(super) fn params(scanner: &mut Scanner<'_>) -> Result<Option<ParamSpans>, ScanError> {
    if scanner.peek() != Some(b'{') {
        scanner.value()?;
        return Ok(None);
    }
    let mut spans = ParamSpans::default();
    let start = scanner.position();
    let mut frame = scanner.begin_object()?;
    while let Some(key) = scanner.next_key(&mut frame)? {
        let name = scanner.key_text(key);
        if name == "_meta" {
            spans.members.meta = keep(scanner, &mut spans.meta)?;
        } else {
            match spans.members.slot(&name) {
                Some(slot) => *slot = scanner.value()?,
                None => {
                    spans.misspelt |= MemberSpans::NAMES.iter().any(|known| same_but_case(&name, known));
                    scanner.value()?;
                }
            }
        }
    }
    spans.whole = Span { start, end: scanner.position() };
    Ok(Some(spans))
}

/// Reads `result`.
pub(super) fn result(scanner: &mut Scanner<'_>) -> Result<ResultSpans, ScanError> {
    let mut spans = ResultSpans::default();
    spans.whole = keep(scanner, &mut spans.members)?;
    Ok(spans)
}

/// Reads `error`; `None` when it is not `{code: integer, message: string}`.
pub(super) fn error(scanner: &mut Scanner<'_>) -> Result<Option<ErrorSpans>, ScanError> {
    let mut spans = ErrorSpans::default();
    keep(scanner, &mut spans)?;
    let text = scanner.text();
    let code = present(text, spans.code).and_then(Raw::i64);
    let message = present(text, spans.message).map(Raw::kind);
    Ok((code.is_some() && message == Some(Kind::String)).then_some(spans))
}

/// Reads any value; of an object, keeps the spans of the known members.
fn keep<S: Slots>(scanner: &mut Scanner<'_>, spans: &mut S) -> Result<Span, ScanError> {
    if scanner.peek() != Some(b'{') {
        return scanner.value();
    }
    let start = scanner.position();
    let mut frame = scanner.begin_object()?;
    while let Some(key) = scanner.next_key(&mut frame)? {
        let slot = spans.slot(&scanner.key_text(key));
        let span = scanner.value()?;
        if let Some(slot) = slot {
            *slot = span;
        }
    }
    Ok(Span { start, end: scanner.position() })
}

/// Whether two names are equal to a reader that ignores case, by Unicode's simple folding: beside ASCII's letters, two other
/// characters fold to one of them, the long s and the kelvin sign. `known` is ASCII.
#[must_use]
pub fn same_but_case(name: &str, known: &str) -> bool {
    let folded = name.chars().map(|character| match character {
        '\u{17F}' => 's',
        '\u{212A}' => 'k',
        other => other.to_ascii_lowercase(),
    });
    folded.eq(known.chars().map(|character| character.to_ascii_lowercase()))
}

/// What a scanned string spells.
pub(super) fn text_of(text: &str, string: StringSpan) -> Cow<'_, str> {
    crate::scan::string_text(text, string)
}

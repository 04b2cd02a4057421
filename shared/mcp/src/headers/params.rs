//! `Mcp-Param-*`: which tool arguments a definition mirrors into headers, and whether a call did so.

use http::{HeaderMap, HeaderName};

use super::{PARAM_PREFIX, decode, single};
use crate::error::ProtocolError;
use crate::raw::{Kind, Raw, same_number};

/// Why a definition's `x-mcp-header` annotations are not usable; clients drop such a tool from the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParamHeaderError {
    /// The annotation is not a string that is an HTTP token.
    #[error("x-mcp-header is not an HTTP token")]
    Name,
    /// Two annotations give the same header name, ignoring case.
    #[error("x-mcp-header used twice")]
    Duplicate,
    /// The annotated parameter is not of type string, integer or boolean.
    #[error("x-mcp-header on a parameter that is not string, integer or boolean")]
    Type,
    /// The annotated schema is not reached from the root through `properties` alone.
    #[error("x-mcp-header on something that is not a property reached through `properties`")]
    Place,
}

/// One mirrored parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ParamHeader {
    header: HeaderName,
    /// Property names from the root of the arguments.
    path: Box<[Box<str>]>,
}

/// The mirrored parameters of one tool definition: compiled once, checked at every call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParamHeaders(Box<[ParamHeader]>);

impl ParamHeaders {
    /// Reads the annotations of a tool definition's `inputSchema` (2026-07-28, "Custom Headers from Tool Parameters").
    pub fn compile(definition: Raw<'_>) -> Result<Self, ParamHeaderError> {
        let mut found = Vec::new();
        if let Some(schema) = definition.get("inputSchema") {
            collect(schema, Some(&mut Vec::new()), &mut found)?;
        }
        Ok(Self(found.into_boxed_slice()))
    }

    /// Whether nothing is mirrored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every mirrored argument must be there once with an equal value, and a header whose argument is absent or null
    /// must not be there. Other `Mcp-Param-*` headers are none of our business.
    pub fn verify(&self, headers: &HeaderMap, arguments: Option<Raw<'_>>) -> Result<(), ProtocolError> {
        for param in &self.0 {
            let value = arguments
                .and_then(|arguments| param.path.iter().try_fold(arguments, |value, name| value.get(name)));
            let mirrored =
                value.filter(|value| !matches!(value.kind(), Kind::Null | Kind::Object | Kind::Array));
            let header = single(headers, &param.header)
                .map_err(|_| ProtocolError::header_mismatch("Mcp-Param header malformed"))?;
            match (header, mirrored) {
                (None, None) => {}
                (Some(_), None) => {
                    return Err(ProtocolError::header_mismatch("Mcp-Param header without its argument"));
                }
                (None, Some(_)) => return Err(ProtocolError::header_mismatch("Mcp-Param header missing")),
                (Some(header), Some(value)) => {
                    let header = decode(header)
                        .map_err(|_| ProtocolError::header_mismatch("Mcp-Param header malformed"))?;
                    if !equal(&header, value) {
                        return Err(ProtocolError::header_mismatch(
                            "Mcp-Param header differs from its argument",
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

/// [`ParamHeaders::compile`] and [`ParamHeaders::verify`] in one; a definition with unusable annotations mirrors nothing
/// that could be checked and is refused.
pub fn verify_params(
    definition: Raw<'_>,
    arguments: Option<Raw<'_>>,
    headers: &HeaderMap,
) -> Result<(), ProtocolError> {
    ParamHeaders::compile(definition)
        .map_err(|_| ProtocolError::header_mismatch("the tool's x-mcp-header annotations are not valid"))?
        .verify(headers, arguments)
}

/// Integers are compared as numbers: `42.0` equals `42`.
fn equal(header: &str, value: Raw<'_>) -> bool {
    match value.kind() {
        Kind::String => value.is_str(header),
        Kind::Number => same_number(header, value.as_str()),
        _ => header == value.as_str(),
    }
}

/// Finds annotations; `path` is `None` below anything that is not `properties`, where none may be.
fn collect(
    schema: Raw<'_>,
    mut path: Option<&mut Vec<Box<str>>>,
    found: &mut Vec<ParamHeader>,
) -> Result<(), ParamHeaderError> {
    for (keyword, value) in schema.members() {
        match &*keyword {
            "x-mcp-header" => {
                let path = path.as_deref().filter(|path| !path.is_empty()).ok_or(ParamHeaderError::Place)?;
                found.push(annotation(schema, value, path, found)?);
            }
            "properties" => {
                for (name, property) in value.members() {
                    match path.as_deref_mut() {
                        Some(path) => {
                            path.push(name.into());
                            collect(property, Some(path), found)?;
                            path.pop();
                        }
                        None => collect(property, None, found)?,
                    }
                }
            }
            // Maps from names to schemas: a member called `x-mcp-header` there is a name.
            "$defs" | "definitions" | "dependentSchemas" | "patternProperties" => {
                for (_, inner) in value.members() {
                    collect(inner, None, found)?;
                }
            }
            // Data, not schemas.
            "default" | "const" | "enum" | "examples" => {}
            _ => {
                collect(value, None, found)?;
                for element in value.elements() {
                    collect(element, None, found)?;
                }
            }
        }
    }
    Ok(())
}

fn annotation(
    schema: Raw<'_>,
    value: Raw<'_>,
    path: &[Box<str>],
    found: &[ParamHeader],
) -> Result<ParamHeader, ParamHeaderError> {
    let name = value.string().filter(|name| !name.is_empty()).ok_or(ParamHeaderError::Name)?;
    let header = HeaderName::from_bytes([PARAM_PREFIX, &name].concat().as_bytes())
        .map_err(|_| ParamHeaderError::Name)?;
    if found.iter().any(|other| other.header == header) {
        return Err(ParamHeaderError::Duplicate);
    }
    let primitive = schema
        .get("type")
        .is_some_and(|kind| ["string", "integer", "boolean"].iter().any(|name| kind.is_str(name)));
    if !primitive {
        return Err(ParamHeaderError::Type);
    }
    Ok(ParamHeader { header, path: path.into() })
}

//! The API's reference for people: one page made from its description, without a script, without anything of a third party.

use std::fmt::Write as _;

use serde_json::Value;

/// The page's style. Its hash is in the page's policy, so nothing else can style the page.
pub(super) const STYLE: &str = include_str!("reference.css");

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The page for a description.
#[must_use]
pub(super) fn page(api: &Value) -> String {
    let mut out = String::with_capacity(256 * 1024);
    let title = text(&api["info"]["title"]);
    let operations = operations(api);
    let _ = write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body>\
         <nav aria-label=\"Operations\"><h2>Operations</h2><ul>"
    );
    for operation in &operations {
        let id = text(&operation.value["operationId"]);
        let _ = write!(out, "<li><a href=\"#{id}\">{id}</a></li>");
    }
    let _ = write!(
        out,
        "</ul><h2>Schemas</h2><ul>{}</ul></nav><main><h1>{title}</h1><p>{}</p>\
         <p>For programs: <a href=\"/v1/openapi.json\">/v1/openapi.json</a></p>",
        links(api),
        text(&api["info"]["description"])
    );
    for operation in &operations {
        operation.write(&mut out);
    }
    for (name, schema) in members(&api["components"]["schemas"]) {
        let name = escape(name);
        let _ = write!(out, "<section id=\"schema-{name}\"><h2>{name}</h2>");
        let _ = write!(out, "<p>{}</p>", text(&schema["description"]));
        fields(&mut out, schema);
        out.push_str("</section>");
    }
    out.push_str("</main></body></html>");
    out
}

struct Operation<'a> {
    method: &'a str,
    path: &'a str,
    value: &'a Value,
}

fn operations(api: &Value) -> Vec<Operation<'_>> {
    members(&api["paths"])
        .flat_map(|(path, item)| {
            METHODS
                .iter()
                .filter_map(move |method| item.get(method).map(|value| Operation { method, path, value }))
        })
        .collect()
}

impl Operation<'_> {
    fn write(&self, out: &mut String) {
        let id = text(&self.value["operationId"]);
        let _ = write!(
            out,
            "<section id=\"{id}\"><h2>{id}</h2><p><code>{} {}</code></p>",
            self.method.to_uppercase(),
            escape(self.path)
        );
        if self.value["deprecated"] == true {
            out.push_str("<p><strong>Deprecated.</strong></p>");
        }
        let _ = write!(out, "<p>{} {}</p>", text(&self.value["summary"]), text(&self.value["description"]));
        for scope in self.value["security"].as_array().into_iter().flatten() {
            let names = scope["token"].as_array().into_iter().flatten().map(text);
            let _ = write!(out, "<p>Scope: <code>{}</code></p>", names.collect::<Vec<_>>().join(", "));
        }
        let parameters = self.value["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        if !parameters.is_empty() {
            out.push_str("<h3>Parameters</h3><table>");
            for parameter in parameters {
                row(out, &text(&parameter["name"]), &place(parameter), &text(&parameter["description"]));
            }
            out.push_str("</table>");
        }
        for (media, content) in members(&self.value["requestBody"]["content"]) {
            let _ = write!(
                out,
                "<h3>Body</h3><p><code>{}</code> {}</p>",
                escape(media),
                kind(&content["schema"])
            );
        }
        out.push_str("<h3>Answers</h3><table>");
        for (status, response) in members(&self.value["responses"]) {
            let (body, about) = match response["$ref"].as_str() {
                Some(_) => (kind(&serde_json::json!({"$ref": "/ProblemDocument"})), String::new()),
                None => {
                    let bodies = members(&response["content"]).map(|(_, content)| kind(&content["schema"]));
                    (bodies.collect::<Vec<_>>().join(", "), text(&response["description"]))
                }
            };
            row(out, &escape(status), &body, &about);
        }
        out.push_str("</table></section>");
    }
}

fn place(parameter: &Value) -> String {
    let required = if parameter["required"] == true { ", required" } else { "" };
    format!("{}{required}, {}", text(&parameter["in"]), kind(&parameter["schema"]))
}

fn fields(out: &mut String, schema: &Value) {
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<_> = values.iter().map(text).collect();
        let _ = write!(out, "<p>One of <code>{}</code></p>", values.join("</code>, <code>"));
    }
    for one in schema["oneOf"].as_array().into_iter().flatten() {
        let _ = write!(out, "<p>Or: {}</p>", text(&one["description"]));
        fields(out, one);
    }
    if members(&schema["properties"]).next().is_none() {
        return;
    }
    out.push_str("<table>");
    for (name, property) in members(&schema["properties"]) {
        let required = schema["required"].as_array().is_some_and(|list| list.iter().any(|one| one == name));
        let about = format!("{}{}", kind(property), if required { ", always" } else { "" });
        row(out, &escape(name), &about, &text(&property["description"]));
    }
    out.push_str("</table>");
}

fn row(out: &mut String, name: &str, kind: &str, about: &str) {
    let _ = write!(out, "<tr><th scope=\"row\"><code>{name}</code></th><td>{kind}</td><td>{about}</td></tr>");
}

/// A schema in a few words, with links to those that have a name.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = escape(reference.rsplit('/').next().unwrap_or_default());
        return format!("<a href=\"#schema-{name}\">{name}</a>");
    }
    for several in ["oneOf", "anyOf"] {
        if let Some(all) = schema[several].as_array() {
            return all.iter().map(kind).collect::<Vec<_>>().join(" or ");
        }
    }
    match &schema["type"] {
        Value::String(name) if name == "array" => format!("list of {}", kind(&schema["items"])),
        Value::Array(names) => names.iter().map(text).collect::<Vec<_>>().join(" or "),
        name => text(name),
    }
}

fn links(api: &Value) -> String {
    let names = members(&api["components"]["schemas"]).map(|(name, _)| escape(name));
    names.map(|name| format!("<li><a href=\"#schema-{name}\">{name}</a></li>")).collect()
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn text(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_and_schema_is_there_and_every_link_leads_somewhere() {
        let api: Value = serde_json::from_str(&super::super::openapi::document()).unwrap();
        let page = page(&api);
        for operation in operations(&api) {
            assert!(page.contains(&format!("<section id=\"{}\">", text(&operation.value["operationId"]))));
        }
        for link in page.split("href=\"#").skip(1) {
            let target = link.split('"').next().unwrap();
            assert!(page.contains(&format!("<section id=\"{target}\">")), "#{target}");
        }
        assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
    }

    #[test]
    fn texts_are_texts() {
        let api =
            serde_json::json!({"info": {"title": "<b>&\"'"}, "paths": {"/<i>": {"get": {"summary": "<u>"}}}});
        let page = page(&api);
        assert!(page.contains("&lt;b&gt;&amp;&quot;&#39;") && page.contains("/&lt;i&gt;"));
        assert!(!page.contains("<b>") && !page.contains("<i>") && !page.contains("<u>"));
    }
}

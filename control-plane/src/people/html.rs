//! HTML in which text cannot become markup: markup is written in the source, and everything else is escaped.

/// A piece of a page. Shows nothing in `Debug`: there are forms' tokens in it.
#[derive(Default)]
pub(crate) struct Html(String);

impl std::fmt::Debug for Html {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Html(…)")
    }
}

impl Html {
    /// Markup from the source.
    pub(crate) fn markup(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text from anywhere, also inside an attribute's double quotes.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                // What turns text around or hides it would let a name say something else than it is.
                c if is_deceptive(c) => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        self
    }

    /// Another piece.
    pub(crate) fn piece(&mut self, piece: &Self) -> &mut Self {
        self.0.push_str(&piece.0);
        self
    }

    /// `<input type="hidden">`.
    pub(crate) fn hidden(&mut self, name: &'static str, value: &str) -> &mut Self {
        self.markup("<input type=\"hidden\" name=\"").markup(name).markup("\" value=\"");
        self.text(value).markup("\">")
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

fn is_deceptive(c: char) -> bool {
    let invisible =
        matches!(c, '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{3164}' | '\u{feff}')
            || ('\u{200b}'..='\u{200f}').contains(&c)
            || ('\u{2028}'..='\u{202e}').contains(&c)
            || ('\u{2060}'..='\u{206f}').contains(&c)
            || ('\u{fff9}'..='\u{fffb}').contains(&c)
            || ('\u{e0000}'..='\u{e007f}').contains(&c);
    invisible || c.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_does_not_become_markup() {
        let mut html = Html::default();
        html.markup("<p>").text("<script>\"a\" & 'b'\u{202e}\n").markup("</p>").hidden("x", "\"><b>");
        assert_eq!(
            html.into_string(),
            "<p>&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;\u{fffd}\u{fffd}</p>\
             <input type=\"hidden\" name=\"x\" value=\"&quot;&gt;&lt;b&gt;\">"
        );
    }
}

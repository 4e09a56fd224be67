//! What servers return, within bounds.
use rmcp::model::{CallToolResult, ContentBlock, PromptMessage, ResourceContents};

/// How many bytes of text one result may have: about 25,000 tokens.
const MAX_TEXT_BYTES: usize = 100_000;
/// How large one image may be, in bytes of base64, and how many a result may have.
const MAX_IMAGE_BYTES: usize = 5_000_000;
const MAX_IMAGES: usize = 10;
/// The images that model APIs read.
const IMAGE_TYPES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// A part of a result.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Text.
    Text(String),
    /// An image.
    Image {
        /// Such as `image/png`.
        media_type: String,
        /// Base64.
        data: String,
    },
}

/// What a server returned.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Output {
    /// Its parts, in order. What was left out is said in them.
    pub parts: Vec<Part>,
    /// Whether the server says that the call failed.
    pub is_error: bool,
}

impl Output {
    /// Its texts, each on lines of its own.
    pub fn text(&self) -> String {
        let texts = self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Image { .. } => None,
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn of_call(result: CallToolResult) -> Output {
        let mut output = Bounded::default();
        // The structure repeats what the text says, where there is text.
        let has_text = result.content.iter().any(|block| matches!(block, ContentBlock::Text(_)));
        result.content.into_iter().for_each(|block| output.add(block));
        if let Some(structure) = result.structured_content.filter(|_| !has_text) {
            output.text(&structure.to_string());
        }
        Output { parts: output.end(), is_error: result.is_error == Some(true) }
    }

    pub(crate) fn of_resource(contents: Vec<ResourceContents>) -> Output {
        let mut output = Bounded::default();
        contents.into_iter().for_each(|contents| output.resource(contents));
        Output { parts: output.end(), is_error: false }
    }

    pub(crate) fn of_prompt(messages: Vec<PromptMessage>) -> Output {
        let mut output = Bounded::default();
        messages.into_iter().for_each(|message| output.add(message.content));
        Output { parts: output.end(), is_error: false }
    }
}

/// Parts up to the bounds.
#[derive(Default)]
struct Bounded {
    parts: Vec<Part>,
    bytes: usize,
    left_out: usize,
    images: usize,
}

impl Bounded {
    fn add(&mut self, block: ContentBlock) {
        match block {
            ContentBlock::Text(text) => self.text(&text.text),
            ContentBlock::Image(image) => self.image(image.mime_type, image.data),
            ContentBlock::Audio(audio) => {
                self.note(&format!("{} of {} bytes", audio.mime_type, audio.data.len() / 4 * 3))
            }
            ContentBlock::Resource(embedded) => self.resource(embedded.resource),
            ContentBlock::ResourceLink(link) => {
                let size = link.size.map(|size| format!(", {size} bytes")).unwrap_or_default();
                self.text(&format!("[resource {} ({}{size})]", link.uri, link.name));
            }
            _ => self.note("a kind of content that is not known here"),
        }
    }

    fn resource(&mut self, contents: ResourceContents) {
        match contents {
            ResourceContents::TextResourceContents { uri, text, .. } => {
                self.text(&format!("[resource {uri}]\n{text}"))
            }
            ResourceContents::BlobResourceContents { uri, mime_type, blob, .. } => {
                let mime = mime_type.unwrap_or_default();
                if IMAGE_TYPES.contains(&mime.as_str()) {
                    self.text(&format!("[resource {uri}]"));
                    return self.image(mime, blob);
                }
                self.note(&format!("{uri}: {mime} of {} bytes", blob.len() / 4 * 3));
            }
            _ => self.note("a kind of resource that is not known here"),
        }
    }

    fn text(&mut self, text: &str) {
        let room = MAX_TEXT_BYTES - self.bytes;
        let kept = &text[..text.floor_char_boundary(room)];
        self.left_out += text.len() - kept.len();
        self.bytes += kept.len();
        if !kept.is_empty() {
            self.parts.push(Part::Text(kept.into()));
        }
    }

    fn image(&mut self, media_type: String, data: String) {
        let fits = data.len() <= MAX_IMAGE_BYTES && self.images < MAX_IMAGES;
        if !fits || !IMAGE_TYPES.contains(&media_type.as_str()) {
            return self.note(&format!("{media_type} of {} bytes", data.len() / 4 * 3));
        }
        self.images += 1;
        self.parts.push(Part::Image { media_type, data });
    }

    fn note(&mut self, what: &str) {
        self.text(&format!("[left out: {what}]"));
    }

    fn end(mut self) -> Vec<Part> {
        if self.left_out > 0 {
            let note = format!(
                "[cut: {} bytes more than the {MAX_TEXT_BYTES} that a result may have; ask for \
                 less]",
                self.left_out
            );
            self.parts.push(Part::Text(note));
        }
        self.parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn output(result: Value) -> Output {
        Output::of_call(serde_json::from_value(result).unwrap())
    }

    #[test]
    fn every_kind_of_content_arrives_or_is_named() {
        let content = json!([
            {"type": "text", "text": "a"},
            {"type": "image", "mimeType": "image/png", "data": "AAAA"},
            {"type": "image", "mimeType": "image/tiff", "data": "AAAA"},
            {"type": "audio", "mimeType": "audio/wav", "data": "AAAAAAAA"},
            {"type": "resource", "resource": {"uri": "f://x", "text": "inside"}},
            {"type": "resource", "resource": {"uri": "f://y", "mimeType": "x/y", "blob": "AAAA"}},
            {"type": "resource_link", "uri": "f://z", "name": "z"},
        ]);
        let found = output(json!({"content": content, "structuredContent": {"not": "repeated"}}));
        let text = |text: &str| Part::Text(text.into());
        let expected = [
            text("a"),
            Part::Image { media_type: "image/png".into(), data: "AAAA".into() },
            text("[left out: image/tiff of 3 bytes]"),
            text("[left out: audio/wav of 6 bytes]"),
            text("[resource f://x]\ninside"),
            text("[left out: f://y: x/y of 3 bytes]"),
            text("[resource f://z (z)]"),
        ];
        assert_eq!(found, Output { parts: expected.into(), is_error: false });
        let structured = output(json!({"content": [], "structuredContent": {"a": 1},
            "isError": true}));
        assert_eq!(structured, Output { parts: vec![text("{\"a\":1}")], is_error: true });
    }

    #[test]
    fn a_large_result_is_cut_and_says_so() {
        let large = "ä".repeat(MAX_TEXT_BYTES);
        let block = json!({"type": "text", "text": large});
        let found = output(json!({"content": [{"type": "text", "text": "x"}, block, block]}));
        assert_eq!(found.parts.len(), 3);
        let Part::Text(kept) = &found.parts[1] else { panic!() };
        assert_eq!(kept.len(), MAX_TEXT_BYTES - 2);
        assert!(found.text().ends_with("that a result may have; ask for less]"));
        let image = json!({"type": "image", "mimeType": "image/png", "data": "AAAA"});
        let many = output(json!({"content": vec![image; MAX_IMAGES + 1]}));
        assert_eq!(many.parts[MAX_IMAGES], Part::Text("[left out: image/png of 3 bytes]".into()));
    }
}

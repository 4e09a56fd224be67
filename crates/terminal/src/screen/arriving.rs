//! Replies while they arrive: the text on standard output, the thinking before it on standard
//! error. Where standard output is no terminal, it has the answers alone, whole: whether a text is
//! one, or stands beside calls, is known at its end.
use super::{Inner, Screen, fitted};
use crate::{
    output::{Output, To},
    paint::{Colour, paint},
    text::escaped,
};
use rungs_core::{Block, Reply, StopReason};

impl Screen {
    pub(super) fn text_delta(&self, text: &str) {
        let mut output = self.0.output.lock().unwrap();
        self.0.end_thinking(&mut output);
        if output.out.is_terminal {
            output.pieces.push_str(text);
            self.0.write(&mut output, To::Out, &escaped(text));
        }
    }

    pub(super) fn thinking_delta(&self, text: &str) {
        let mut output = self.0.output.lock().unwrap();
        output.thinking = true;
        let text = paint(&escaped(text), output.has_colour(To::Err), Colour::Result);
        self.0.write(&mut output, To::Err, &text);
    }

    /// The whole reply, without what was shown of it already.
    pub(super) fn reply(&self, reply: &Reply) {
        let text = reply.text();
        let mut output = self.0.output.lock().unwrap();
        self.0.end_thinking(&mut output);
        let pieces = std::mem::take(&mut output.pieces);
        if !output.out.is_terminal && reply.calls().is_empty() {
            // What the harness has put in is for a person: a program reads the answer alone, the
            // parts of one that broke off in one line.
            let own = reply.message.content.iter().filter(|block| block.origin().is_none());
            let text: String = own.filter_map(Block::as_text).collect();
            let text = escaped(&text);
            if matches!(reply.stop, StopReason::Cut(_)) {
                self.0.write(&mut output, To::Out, &text);
                output.pieces = pieces + &text;
            } else if !(pieces + text.trim()).is_empty() {
                let text = text.trim_end_matches('\n');
                self.0.write(&mut output, To::Out, &format!("{text}\n"));
            }
        } else if !pieces.is_empty()
            && let Some(rest) = text.strip_prefix(pieces.as_str())
        {
            let newline = if text.ends_with('\n') { "" } else { "\n" };
            self.0.write(&mut output, To::Out, &format!("{}{newline}", escaped(rest)));
        } else if !text.trim().is_empty() {
            if !pieces.is_empty() {
                self.0.write(&mut output, To::Out, "\n");
            }
            let text = escaped(text.trim_end_matches('\n'));
            let (to, text) = if output.out.is_terminal {
                (To::Out, fitted(std::io::stdout(), &text, 0))
            } else {
                (To::Err, fitted(std::io::stderr(), &text, 0))
            };
            self.0.write(&mut output, to, &format!("{text}\n"));
        } else if !pieces.is_empty() {
            self.0.write(&mut output, To::Out, "\n");
        }
    }

    pub(super) fn reply_discarded(&self) {
        let mut output = self.0.output.lock().unwrap();
        let thinking = std::mem::take(&mut output.thinking);
        if output.out.is_terminal && !std::mem::take(&mut output.pieces).is_empty() {
            self.0.write(&mut output, To::Out, " [discarded]\n");
        } else if thinking {
            self.0.write(&mut output, To::Err, " [discarded]\n");
        }
    }
}

impl Inner {
    /// Whatever follows thinking begins on a line of its own.
    pub(super) fn end_thinking(&self, output: &mut Output) {
        if std::mem::take(&mut output.thinking) {
            self.write(output, To::Err, "\n");
        }
    }
}

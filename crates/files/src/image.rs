use crate::Unfit;
use base64::{Engine, engine::general_purpose::STANDARD};
use std::io::Read;

/// An image that every request can hold. One that is too large would not only be refused: it stays in the history, and
/// every later request is refused with it.
pub const BYTES: usize = 3_750_000;
/// What a request with many images takes; with few it would be four times as much.
pub const SIDE: usize = 2000;

/// An image.
#[derive(Debug, PartialEq)]
pub struct Image {
    /// Such as `image/png`.
    pub media_type: &'static str,
    /// Its bytes.
    pub base64: String,
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
}

/// The type of a file that begins so, if it is an image that models take.
pub fn media_type(head: &[u8]) -> Option<&'static str> {
    match head {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

pub fn read(mut file: impl Read, media_type: &'static str) -> Result<Image, Unfit> {
    let mut bytes = Vec::new();
    file.by_ref().take(BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > BYTES {
        let rest = std::io::copy(&mut file, &mut std::io::sink())?;
        return Err(Unfit::Heavy(bytes.len() as u64 + rest));
    }
    let size = imagesize::blob_size(&bytes).map_err(|_| Unfit::Binary)?;
    if size.width.max(size.height) > SIDE {
        return Err(Unfit::Large(size.width, size.height));
    }
    Ok(Image { media_type, base64: STANDARD.encode(bytes), width: size.width, height: size.height })
}

//! Images, as requests carry them.
use crate::ReadError;
use base64::{Engine, engine::general_purpose::STANDARD};
use std::io::Read;

/// How many bytes an image may have. A larger one would not only be refused once: it would stay in
/// the history, and every later request would be refused with it.
pub(crate) const MAX_BYTES: usize = 3_750_000;
/// How long a side may be in a request with many images; with few it could be four times as long.
pub(crate) const MAX_SIDE_PIXELS: usize = 2000;

/// An image.
#[derive(Debug, PartialEq)]
pub struct Image {
    /// Such as `image/png`.
    pub media_type: &'static str,
    /// The whole file, base64-encoded.
    pub base64: String,
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
}

/// The media type of a file that begins with `head`, if it is an image that models accept.
pub(crate) fn media_type(head: &[u8]) -> Option<&'static str> {
    match head {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

/// `size` is that of the file, in bytes.
pub(crate) fn read(
    file: impl Read,
    size: u64,
    media_type: &'static str,
) -> Result<Image, ReadError> {
    if size > MAX_BYTES as u64 {
        return Err(ReadError::TooManyBytes(size));
    }
    let mut bytes = Vec::new();
    // It may grow while it is read.
    file.take(MAX_BYTES as u64).read_to_end(&mut bytes)?;
    let Ok(size) = imagesize::blob_size(&bytes) else {
        return Err(ReadError::Binary);
    };
    if size.width.max(size.height) > MAX_SIDE_PIXELS {
        return Err(ReadError::TooManyPixels(size.width, size.height));
    }
    if size.width.min(size.height) == 0 {
        return Err(ReadError::Binary);
    }
    let base64 = STANDARD.encode(bytes);
    Ok(Image { media_type, base64, width: size.width, height: size.height })
}

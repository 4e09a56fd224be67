//! Signed requests, as the Standard Webhooks describe them
//! (<https://github.com/standard-webhooks/standard-webhooks>, read in November 2026): whoever has
//! the key can tell that a request is ours, unchanged, and not an old one sent again.
use base64::{Engine, prelude::BASE64_STANDARD};
use ring::hmac;
use std::fmt;

/// How the keys of the Standard Webhooks begin; base64 follows.
const PREFIX: &str = "whsec_";

/// A key for HMAC-SHA256. It is never shown.
#[derive(Clone)]
pub struct SigningKey(hmac::Key);

impl SigningKey {
    /// Reads a key: base64 after `whsec_`, else the bytes of the text.
    ///
    /// # Errors
    /// When it is empty, or no base64. The key is not repeated.
    pub fn new(text: &str) -> Result<Self, String> {
        let bytes = match text.strip_prefix(PREFIX) {
            Some(base64) => BASE64_STANDARD
                .decode(base64)
                .map_err(|_| format!("after `{PREFIX}` the key must be base64"))?,
            None => text.as_bytes().to_vec(),
        };
        if bytes.is_empty() {
            return Err("the key is empty".into());
        }
        Ok(SigningKey(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(***)")
    }
}

/// The header `webhook-signature` for a body with this id, sent at this time (seconds since 1970).
pub fn signature(key: &SigningKey, id: &str, timestamp: u64, body: &str) -> String {
    let signed = format!("{id}.{timestamp}.{body}");
    let tag = hmac::sign(&key.0, signed.as_bytes());
    format!("v1,{}", BASE64_STANDARD.encode(tag.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_signs_as_the_standard_does() {
        // The example of the standard's specification.
        let key = SigningKey::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = "{\"test\": 2432232314}";
        let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(format!("{key:?}"), "SigningKey(***)");
    }

    #[test]
    fn keys_are_checked() {
        let refused = |text: &str| SigningKey::new(text).unwrap_err();
        assert_eq!(refused(""), "the key is empty");
        assert_eq!(refused("whsec_"), "the key is empty");
        assert_eq!(refused("whsec_no base64"), "after `whsec_` the key must be base64");
        assert!(SigningKey::new("any text").is_ok());
    }
}

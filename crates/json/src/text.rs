//! Values as text: what is sent again and again is written once, and a size needs no text at all.
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, value::RawValue, value::to_raw_value};
use std::{fmt, io, ops::Deref, sync::Arc};

/// A value that is sent with every request, such as the schema of a tool: its text is made once.
#[derive(Clone, Deserialize)]
#[serde(from = "Value")]
pub struct Written(Arc<(Value, Box<RawValue>)>);

impl From<Value> for Written {
    fn from(value: Value) -> Self {
        let text = to_raw_value(&value).expect("a value is JSON");
        Written(Arc::new((value, text)))
    }
}

impl Deref for Written {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0.0
    }
}

impl PartialEq for Written {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl Serialize for Written {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.1.serialize(serializer)
    }
}

/// How many bytes a value is as JSON; of one that is none, those before the fault.
pub fn size(value: &(impl Serialize + ?Sized)) -> usize {
    struct Count(usize);

    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut count = Count(0);
    // Counting does not fail.
    let _ = serde_json::to_writer(&mut count, value);
    count.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_written_value_is_the_same_text_in_every_place() {
        let value = json!({"z": [1.50, "\"\u{1f600}\n"], "a": null});
        let written = Written::from(value.clone());
        let place = json!({"in": [value]}).to_string();
        assert_eq!(serde_json::to_string(&json!({"in": [&written]})).unwrap(), place);
        assert_eq!(format!(r#"{{"in":[{}]}}"#, serde_json::to_string(&written).unwrap()), place);
        assert_eq!((written["z"][0].as_f64(), size(&value)), (Some(1.5), value.to_string().len()));
        assert_eq!(serde_json::from_value::<Written>(value).unwrap(), written);
    }
}

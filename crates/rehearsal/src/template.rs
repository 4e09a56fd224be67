//! Templates: texts of a script that are filled in when a turn is played.
use minijinja::{Environment, UndefinedBehavior, syntax::SyntaxConfig};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// A text with `{{ expressions }}` whose syntax was checked when the script was loaded.
#[derive(Clone, Debug)]
pub(crate) struct Template(String);

/// The input of a tool call: any value, whose texts are templates.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Text(Template),
    List(Vec<Input>),
    Map(Vec<(String, Input)>),
    Plain(Value),
}

fn environment<'a>() -> Result<Environment<'a>, minijinja::Error> {
    let mut environment = Environment::new();
    // A misspelt variable must be heard of, not vanish from the text.
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // A file that a call writes keeps its last newline.
    environment.set_syntax(SyntaxConfig::builder().keep_trailing_newline(true).build()?);
    environment.add_filter("lines", |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.trim().is_empty()).map(String::from).collect()
    });
    Ok(environment)
}

impl Template {
    pub(crate) fn parse(source: &str) -> Result<Self, minijinja::Error> {
        environment()?.template_from_str(source)?;
        Ok(Template(source.to_string()))
    }

    /// The text with its expressions replaced by what `variables` say.
    pub(crate) fn render(&self, variables: &minijinja::Value) -> Result<String, minijinja::Error> {
        if !self.0.contains('{') {
            return Ok(self.0.clone());
        }
        environment()?.render_str(&self.0, variables.clone())
    }
}

impl Input {
    pub(crate) fn empty() -> Self {
        Input::Map(vec![])
    }

    pub(crate) fn render(&self, variables: &minijinja::Value) -> Result<Value, minijinja::Error> {
        Ok(match self {
            Input::Text(template) => Value::String(template.render(variables)?),
            Input::List(items) => Value::Array(
                items.iter().map(|item| item.render(variables)).collect::<Result<_, _>>()?,
            ),
            Input::Map(fields) => {
                let mut map = Map::new();
                for (key, value) in fields {
                    map.insert(key.clone(), value.render(variables)?);
                }
                Value::Object(map)
            }
            Input::Plain(value) => value.clone(),
        })
    }
}

/// Reads a text through `parse`. A visitor of its own, and not `try_from`, so that an error carries the line of this
/// very text and not that of the map around it.
pub(crate) fn text<'de, D, T, E>(
    deserializer: D,
    parse: fn(&str) -> Result<T, E>,
) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    E: fmt::Display,
{
    struct Text<T, E>(fn(&str) -> Result<T, E>);
    impl<T, E: fmt::Display> Visitor<'_> for Text<T, E> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a text")
        }
        fn visit_str<X: serde::de::Error>(self, text: &str) -> Result<T, X> {
            (self.0)(text).map_err(X::custom)
        }
    }
    deserializer.deserialize_str(Text(parse))
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text(deserializer, |source| Template::parse(source).map_err(Reason))
    }
}

/// What is wrong with a template, without minijinja's talk of where: a template has no file of its own.
pub(crate) struct Reason(pub(crate) minijinja::Error);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "template: {}", self.0.kind())?;
        match self.0.detail() {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InputVisitor)
    }
}

struct InputVisitor;

impl<'de> Visitor<'de> for InputVisitor {
    type Value = Input;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a value that JSON can hold")
    }
    fn visit_unit<E>(self) -> Result<Input, E> {
        Ok(Input::Plain(Value::Null))
    }
    fn visit_bool<E>(self, yes: bool) -> Result<Input, E> {
        Ok(Input::Plain(yes.into()))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Input, E> {
        Ok(Input::Plain(number.into()))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Input, E> {
        Ok(Input::Plain(number.into()))
    }
    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Input, E> {
        let number =
            Number::from_f64(number).ok_or_else(|| E::custom("JSON has no such number"))?;
        Ok(Input::Plain(Value::Number(number)))
    }
    fn visit_str<E: serde::de::Error>(self, source: &str) -> Result<Input, E> {
        Template::parse(source).map(Input::Text).map_err(|e| E::custom(Reason(e)))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Input, A::Error> {
        let mut list = vec![];
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Input::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Input, A::Error> {
        let mut map: Vec<(String, Input)> = vec![];
        while let Some((key, value)) = fields.next_entry::<String, Input>()? {
            if map.iter().any(|(known, _)| *known == key) {
                return Err(A::Error::custom(format!("`{key}` stands twice")));
            }
            map.push((key, value));
        }
        Ok(Input::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::context;
    use serde_json::json;

    #[test]
    fn inputs_are_filled_in_and_keep_their_kinds() {
        let yaml = "{path: '{{ m[1] }}', lines: [1, 2.5, true, null], text: \"a\\n\", '{{ key }}': '{{ x | lines | length }}'}";
        let input: Input = serde_yaml::from_str(yaml).unwrap();
        let variables = context! { m => ["whole", "a.txt"], x => "one\n\n  \ntwo\n" };
        let expected = json!({"path": "a.txt", "lines": [1, 2.5, true, null], "text": "a\n", "{{ key }}": "2"});
        assert_eq!(input.render(&variables).unwrap(), expected);
    }

    #[test]
    fn an_unknown_variable_is_an_error() {
        let error = Template::parse("{{ resluts[0] }}").unwrap().render(&context! {}).unwrap_err();
        assert_eq!(error.kind(), minijinja::ErrorKind::UndefinedError);
        assert!(Template::parse("{{ m[0 }}").is_err());
    }
}

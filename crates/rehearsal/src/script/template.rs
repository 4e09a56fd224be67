//! Templates: texts of a script whose expressions are evaluated when a turn is played.
use minijinja::{Environment, UndefinedBehavior, syntax::SyntaxConfig};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// A text with `{{ expressions }}`. Its syntax was checked when the script was read.
#[derive(Clone, Debug)]
pub(crate) struct Template(String);

/// An expression, such as `results[0].is_error`. Its syntax was checked when the script was read.
#[derive(Clone, Debug)]
pub(crate) struct Condition(String);

impl Condition {
    /// Whether it holds. An unknown variable is an error, as in a template.
    pub(crate) fn holds(&self, variables: &minijinja::Value) -> Result<bool, minijinja::Error> {
        let value = environment()?.compile_expression(&self.0)?.eval(variables.clone())?;
        if value.is_undefined() {
            return Err(minijinja::ErrorKind::UndefinedError.into());
        }
        Ok(value.is_true())
    }
}

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
    // A misspelt variable is an error; without this it would be an empty text.
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // The content of a file that a call writes ends with the newline that the script has.
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

    /// The text with its expressions replaced by their values.
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

/// Reads a text through `parse`. It is a visitor and not `#[serde(try_from)]`, because then an
/// error carries the line of the text itself and not that of the map around it.
pub(crate) fn deserialize_text<'de, D, T, E>(
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
        deserialize_text(deserializer, |source| Template::parse(source).map_err(TemplateError))
    }
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize_text(deserializer, |source| {
            let checked = environment().and_then(|e| e.compile_expression(source).map(|_| ()));
            checked.map(|()| Condition(source.to_string())).map_err(TemplateError)
        })
    }
}

/// What is wrong with a template. Displays without minijinja's line, which counts from the
/// beginning of the template and not of the script.
#[derive(Debug, thiserror::Error)]
#[error("template: {}", without_location(.0))]
pub(crate) struct TemplateError(pub(crate) minijinja::Error);

fn without_location(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
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
        Template::parse(source).map(Input::Text).map_err(|e| E::custom(TemplateError(e)))
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
                return Err(A::Error::custom(format!("the key `{key}` appears twice")));
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
    fn inputs_are_rendered_and_keep_their_types() {
        let yaml = r#"
            path: '{{ m[1] }}'
            values: [1, 2.5, true, null]
            text: "a\n"
            '{{ key }}': '{{ x | lines | length }}'
        "#;
        let input: Input = serde_yaml::from_str(yaml).unwrap();
        let variables = context! { m => ["whole", "a.txt"], x => "one\n\n  \ntwo\n" };
        let expected = json!({
            "path": "a.txt",
            "values": [1, 2.5, true, null],
            "text": "a\n",
            "{{ key }}": "2",
        });
        assert_eq!(input.render(&variables).unwrap(), expected);
    }

    #[test]
    fn an_unknown_variable_is_an_error() {
        let error = Template::parse("{{ resluts[0] }}").unwrap().render(&context! {}).unwrap_err();
        assert_eq!(error.kind(), minijinja::ErrorKind::UndefinedError);
        assert!(Template::parse("{{ m[0 }}").is_err());
        let error = Condition("texst".into()).holds(&context! {}).unwrap_err();
        assert_eq!(error.kind(), minijinja::ErrorKind::UndefinedError);
    }
}

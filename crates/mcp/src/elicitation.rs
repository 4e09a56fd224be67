//! What a server asks the person, in the middle of a call.
use crate::{Chosen, Person, shortened};
use rmcp::model::{ElicitRequestParams, ElicitResult, ElicitationAction};
use serde_json::{Map, Value, json};

/// How many characters of a server's question a person is shown.
const MAX_QUESTION_CHARS: usize = 600;

/// A question of a server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Elicitation {
    /// The server's words. They are not the harness's: say who asks.
    pub message: String,
    /// What is wanted.
    pub wanted: Wanted,
}

/// What a server wants of the person.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Wanted {
    /// Values of these fields.
    Form(Vec<Field>),
    /// That the person opens this address, where no program sees what they type.
    Visit(String),
}

/// A field of a form.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    /// Its name.
    pub name: String,
    /// What it means.
    pub about: String,
    /// The values that it can have, if they are few; else any of its type.
    pub choices: Vec<Value>,
    /// How the choices are shown.
    pub labels: Vec<String>,
    /// The value unless the person gives one.
    pub default: Option<Value>,
    /// Whether the form is nothing without it.
    pub required: bool,
    schema: Value,
}

/// What the person answered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    /// These values; none for [`Wanted::Visit`].
    Accept(Map<String, Value>),
    /// No.
    Decline,
    /// Nobody answered.
    Cancel,
}

impl Elicitation {
    pub(crate) fn of(request: ElicitRequestParams) -> Option<Elicitation> {
        match request {
            ElicitRequestParams::FormElicitationParams { message, requested_schema, .. } => {
                let schema = json!(requested_schema);
                let required = schema["required"].as_array().cloned().unwrap_or_default();
                let fields = schema["properties"].as_object()?.iter();
                let fields = fields
                    .map(|(name, schema)| Field::of(name, schema, required.contains(&json!(name))));
                Some(Elicitation { message, wanted: Wanted::Form(fields.collect()) })
            }
            ElicitRequestParams::UrlElicitationParams { message, url, .. } => {
                Some(Elicitation { message, wanted: Wanted::Visit(url) })
            }
            _ => None,
        }
    }

    /// Asks the person, who sees which server asks.
    pub(crate) async fn ask(&self, server: &str, person: &impl Person) -> Reply {
        let message = shortened(&self.message, MAX_QUESTION_CHARS);
        if !person.is_there() {
            person.notice(&format!("{server} asks, and nobody is there: {message}"));
            return Reply::Cancel;
        }
        let says = format!("the MCP server {server} asks: {message}");
        let mut values = Map::new();
        match &self.wanted {
            Wanted::Visit(url) => {
                let done = vec!["I have opened this address myself".into()];
                if let Chosen::No(_) = person.choose(format!("{says}\n{url}"), done).await {
                    return Reply::Decline;
                }
            }
            Wanted::Form(fields) => {
                for field in fields {
                    match field.ask(&says, person).await {
                        Given::Value(value) => drop(values.insert(field.name.clone(), value)),
                        Given::Nothing => {}
                        Given::No => return Reply::Decline,
                    }
                }
            }
        }
        Reply::Accept(values)
    }
}

/// What the person gave for a field.
enum Given {
    Value(Value),
    Nothing,
    No,
}

impl Reply {
    pub(crate) fn into_result(self) -> ElicitResult {
        match self {
            Reply::Accept(values) => {
                ElicitResult::new(ElicitationAction::Accept).with_content(Value::Object(values))
            }
            Reply::Decline => ElicitResult::new(ElicitationAction::Decline),
            Reply::Cancel => ElicitResult::new(ElicitationAction::Cancel),
        }
    }
}

impl Field {
    fn of(name: &str, schema: &Value, required: bool) -> Field {
        let text = |key: &str| schema[key].as_str().unwrap_or_default();
        let about = match (text("title"), text("description")) {
            ("", "") => name.to_string(),
            ("", about) | (about, "") => format!("{name}: {about}"),
            (title, about) => format!("{title}: {about}"),
        };
        let about = match options(&schema["items"]) {
            options if options.is_empty() => about,
            options => format!("{about} (several of {})", options.join(", ")),
        };
        let titled = ["oneOf", "anyOf"].iter().find_map(|key| schema[*key].as_array());
        let (choices, labels): (Vec<Value>, Vec<String>) = match (titled, schema["enum"].as_array())
        {
            (Some(titled), _) => titled
                .iter()
                .map(|one| (one["const"].clone(), one["title"].as_str().unwrap_or("?").to_string()))
                .unzip(),
            (None, Some(values)) => {
                let names = schema["enumNames"].as_array();
                let label = |(i, value): (usize, &Value)| {
                    let name = names.and_then(|names| names.get(i)).unwrap_or(value);
                    (value.clone(), name.as_str().unwrap_or_default().to_string())
                };
                values.iter().enumerate().map(label).unzip()
            }
            _ if schema["type"] == "boolean" => {
                (vec![json!(true), json!(false)], vec!["yes".into(), "no".into()])
            }
            _ => (vec![], vec![]),
        };
        let default = schema.get("default").cloned();
        let (name, schema) = (name.to_string(), schema.clone());
        Field { name, about, choices, labels, default, required, schema }
    }

    /// Asks until there is a value that the field can have, or none is to be given.
    async fn ask(&self, says: &str, person: &impl Person) -> Given {
        let is_open = self.choices.is_empty();
        let how = if is_open { " (to give a value, write `n VALUE`)" } else { "" };
        let mut offers: Vec<(String, Given)> = vec![];
        match &self.default {
            Some(default) => {
                offers.push((format!("as it is: {default}"), Given::Value(default.clone())));
            }
            None if !self.required => offers.push(("leave it empty".into(), Given::Nothing)),
            None => {}
        }
        for (label, value) in self.labels.iter().zip(&self.choices) {
            offers.push((label.clone(), Given::Value(value.clone())));
        }
        loop {
            let labels = offers.iter().map(|(label, _)| label.clone()).collect();
            match person.choose(format!("{says}\n{}{how}", self.about), labels).await {
                Chosen::Choice(n) if n < offers.len() => return offers.swap_remove(n).1,
                Chosen::No(typed) if is_open && !typed.is_empty() => match self.parse(&typed) {
                    Ok(value) => return Given::Value(value),
                    Err(why) => person.notice(&why),
                },
                _ => return Given::No,
            }
        }
    }

    /// The value that a person typed, if the field can have it.
    ///
    /// # Errors
    /// What would be right.
    fn parse(&self, typed: &str) -> Result<Value, String> {
        let typed = typed.trim();
        let number = |key: &str| self.schema[key].as_f64();
        let value = match self.schema["type"].as_str() {
            Some("integer") => typed.parse::<i64>().map(Value::from).ok(),
            Some("number") => typed.parse::<f64>().ok().filter(|n| n.is_finite()).map(Value::from),
            Some("array") => Some(typed.split(',').map(|one| json!(one.trim())).collect()),
            _ => Some(json!(typed)),
        };
        let Some(value) = value else { return Err("a number is wanted".into()) };
        if let Some(n) = value.as_f64()
            && (number("minimum").is_some_and(|min| n < min)
                || number("maximum").is_some_and(|max| n > max))
        {
            return Err("the number is outside of what is allowed".into());
        }
        let length = typed.chars().count() as f64;
        if value.is_string()
            && (number("minLength").is_some_and(|min| length < min)
                || number("maxLength").is_some_and(|max| length > max))
        {
            return Err("the text is too short or too long".into());
        }
        Ok(value)
    }
}

/// The values that each entry of a list can have.
fn options(items: &Value) -> Vec<&str> {
    let titled = items["anyOf"].as_array().or(items["oneOf"].as_array()).into_iter().flatten();
    let plain = items["enum"].as_array().into_iter().flatten();
    titled.map(|one| &one["const"]).chain(plain).filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(properties: &Value) -> Vec<Field> {
        let request = json!({"mode": "form", "message": "m", "requestedSchema":
            {"type": "object", "properties": properties, "required": ["a"]}});
        let request = serde_json::from_value(request).unwrap();
        match Elicitation::of(request).unwrap().wanted {
            Wanted::Form(fields) => fields,
            Wanted::Visit(url) => panic!("{url}"),
        }
    }

    #[test]
    fn fields_have_choices_or_types() {
        let fields = fields(&json!({
            "a": {"type": "integer", "minimum": 1, "maximum": 9, "description": "how many"},
            "b": {"type": "boolean", "default": true},
            "c": {"type": "string", "enum": ["x", "y"]},
            "d": {"type": "string", "oneOf": [{"const": "r", "title": "Red"}]},
            "e": {"type": "string", "minLength": 2},
        }));
        let shown: Vec<(&str, &str, bool)> =
            fields.iter().map(|f| (f.name.as_str(), f.about.as_str(), f.required)).collect();
        assert_eq!(shown[0], ("a", "a: how many", true));
        assert_eq!(fields[0].parse(" 3 "), Ok(json!(3)));
        assert!(fields[0].parse("10").is_err() && fields[0].parse("x").is_err());
        assert_eq!(
            (&fields[1].labels[..], fields[1].default.clone()),
            (&["yes".to_string(), "no".into()][..], Some(json!(true)))
        );
        assert_eq!(fields[2].choices, [json!("x"), json!("y")]);
        assert_eq!((&fields[3].choices[0], fields[3].labels[0].as_str()), (&json!("r"), "Red"));
        assert!(fields[4].parse("a").is_err() && fields[4].parse("ab").is_ok());
    }
}

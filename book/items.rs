//! Finds the items of a Rust file by name: what a chapter quotes is the code as it is.
use proc_macro2::Span;
use syn::{ImplItem, Item, TraitItem, spanned::Spanned};

/// Lines of a file, from an item's docs to its end.
#[derive(Debug, PartialEq)]
pub struct Quote {
    /// The number of the first line, from 1.
    pub first: usize,
    /// The number of the last line.
    pub last: usize,
    /// The lines, without the indentation that they share.
    pub text: String,
}

/// An item, with every name by which it can be quoted; the first is the shortest.
struct Named {
    names: Vec<String>,
    span: Span,
}

/// Quotes the item of that name: `Agent` (a struct, an enum, a function, a trait, a constant ..),
/// `impl Agent`, `impl Layer for Reminder`, `Agent::run`, or `<Reminder as Layer>::ask` where the
/// type has several methods of that name. Generic parameters of an `impl` may be left out.
///
/// # Errors
/// Says which names there are, if none or several items have this one, or that the file does not
/// parse.
pub fn quote(source: &str, name: &str) -> Result<Quote, String> {
    let file = syn::parse_file(source).map_err(|e| format!("does not parse: {e}"))?;
    let mut items = vec![];
    collect(&file.items, &mut items);
    let wanted = without_spaces(name);
    let is_wanted = |item: &&Named| item.names.iter().any(|name| without_spaces(name) == wanted);
    let found: Vec<&Named> = items.iter().filter(is_wanted).collect();
    match found[..] {
        [item] => Ok(lines(source, item.span)),
        [] => {
            let known: Vec<&str> = items.iter().map(|item| item.names[0].as_str()).collect();
            Err(format!("has no item `{name}`; it has: {}", known.join(", ")))
        }
        _ => {
            let at = found.iter().map(|item| item.span.start().line.to_string());
            let at = at.collect::<Vec<_>>().join(", ");
            Err(format!("has several items `{name}`, at the lines {at}; quote a part by its name"))
        }
    }
}

fn collect(items: &[Item], found: &mut Vec<Named>) {
    for item in items {
        let name = match item {
            Item::Const(item) => item.ident.to_string(),
            Item::Enum(item) => item.ident.to_string(),
            Item::Fn(item) => item.sig.ident.to_string(),
            Item::Static(item) => item.ident.to_string(),
            Item::Struct(item) => item.ident.to_string(),
            Item::Type(item) => item.ident.to_string(),
            Item::Union(item) => item.ident.to_string(),
            Item::Macro(item) => {
                let Some(name) = &item.ident else { continue };
                format!("{name}!")
            }
            Item::Mod(item) => {
                if let Some((_, inner)) = &item.content {
                    collect(inner, found);
                }
                continue;
            }
            Item::Trait(item) => {
                for part in &item.items {
                    let name = match part {
                        TraitItem::Const(part) => &part.ident,
                        TraitItem::Fn(part) => &part.sig.ident,
                        TraitItem::Type(part) => &part.ident,
                        _ => continue,
                    };
                    let names = vec![format!("{}::{name}", item.ident)];
                    found.push(Named { names, span: part.span() });
                }
                item.ident.to_string()
            }
            Item::Impl(item) => {
                collect_impl(item, found);
                continue;
            }
            _ => continue,
        };
        found.push(Named { names: vec![name], span: item.span() });
    }
}

fn collect_impl(item: &syn::ItemImpl, found: &mut Vec<Named>) {
    let types = with_and_without_generics(&text_of(&item.self_ty));
    let traits = match &item.trait_ {
        Some((path, _)) => {
            let name = text_of(path);
            let last = path.segments.last().map(|last| last.ident.to_string());
            let others = with_and_without_generics(&name).into_iter();
            last.into_iter().chain(others).collect()
        }
        None => vec![],
    };
    let mut names = vec![];
    for ty in &types {
        if traits.is_empty() {
            names.push(format!("impl {ty}"));
        }
        names.extend(traits.iter().map(|name| format!("impl {name} for {ty}")));
    }
    found.push(Named { names, span: item.span() });
    for part in &item.items {
        let name = match part {
            ImplItem::Const(part) => &part.ident,
            ImplItem::Fn(part) => &part.sig.ident,
            ImplItem::Type(part) => &part.ident,
            _ => continue,
        };
        let mut names = vec![];
        for ty in &types {
            names.push(format!("{ty}::{name}"));
            names.extend(traits.iter().map(|of| format!("<{ty} as {of}>::{name}")));
        }
        found.push(Named { names, span: part.span() });
    }
}

/// How a type or a path is written in the file.
fn text_of(part: &impl Spanned) -> String {
    part.span().source_text().unwrap_or_default()
}

fn with_and_without_generics(name: &str) -> Vec<String> {
    match name.split_once('<') {
        Some((plain, _)) if !plain.is_empty() => vec![plain.to_string(), name.to_string()],
        _ => vec![name.to_string()],
    }
}

fn without_spaces(name: &str) -> String {
    name.split_whitespace().collect()
}

fn lines(source: &str, span: Span) -> Quote {
    let (first, last) = (span.start().line, span.end().line);
    let lines: Vec<&str> = source.lines().skip(first - 1).take(last + 1 - first).collect();
    let indent = |line: &&str| line.len() - line.trim_start().len();
    let shared = lines.iter().filter(|line| !line.is_empty()).map(indent).min().unwrap_or_default();
    let text: Vec<&str> = lines.iter().map(|line| line.get(shared..).unwrap_or_default()).collect();
    Quote { first, last, text: text.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"//! A file.
use std::fmt;

/// How many.
pub const MANY: usize = 3;

/// A thing, which `fn` and `}` in its docs do not confuse.
#[derive(Clone)]
pub struct Thing<'a> {
    text: &'a str,
}

impl<'a> Thing<'a> {
    /// Its text: "}".
    pub fn text(&self) -> &'a str {
        // } is no end.
        self.text
    }
}

impl fmt::Display for Thing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("}")
    }
}

trait Named {
    fn name(&self) -> String {
        "x".into()
    }
}

mod inner {
    pub fn deep() {}
}
"#;

    fn text(name: &str) -> String {
        quote(SOURCE, name).unwrap().text
    }

    #[test]
    fn items_are_quoted_with_their_docs_and_attributes() {
        assert_eq!(text("MANY"), "/// How many.\npub const MANY: usize = 3;");
        let thing = quote(SOURCE, "Thing").unwrap();
        assert_eq!((thing.first, thing.last), (7, 11));
        assert!(thing.text.starts_with("/// A thing") && thing.text.ends_with("\n}"));
        assert_eq!(text("deep"), "pub fn deep() {}");
    }

    #[test]
    fn methods_lose_the_indentation_that_their_lines_share() {
        let method = "/// Its text: \"}\".\npub fn text(&self) -> &'a str {\n    \
                      // } is no end.\n    self.text\n}";
        assert_eq!(text("Thing::text"), method);
        assert!(text("Named::name").starts_with("fn name(&self) -> String {"));
        assert!(text("Thing::fmt").starts_with("fn fmt("));
        assert_eq!(text("<Thing as Display>::fmt"), text("Thing::fmt"));
    }

    #[test]
    fn implementations_are_found_with_and_without_their_generics() {
        assert_eq!(text("impl Thing"), text("impl Thing<'a>"));
        assert!(text("impl Thing").starts_with("impl<'a> Thing<'a> {"));
        let display = text("impl fmt::Display for Thing<'_>");
        assert_eq!(display, text("impl  Display  for Thing"));
        assert!(display.starts_with("impl fmt::Display for") && display.ends_with("\n}"));
    }

    #[test]
    fn a_name_that_is_not_there_is_answered_with_those_that_are() {
        let why = quote(SOURCE, "Think").unwrap_err();
        assert!(why.contains("no item `Think`; it has: MANY, "), "{why}");
        assert!(why.contains("impl Display for Thing, Thing::fmt"), "{why}");
        let twice = format!("{SOURCE}\nfn deep() {{}}\n");
        let why = quote(&twice, "deep").unwrap_err();
        assert!(why.contains("several items `deep`, at the lines 34, 37"), "{why}");
        assert!(quote("fn {", "x").unwrap_err().starts_with("does not parse"));
    }
}

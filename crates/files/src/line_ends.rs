//! Line ends in regular expressions. A model writes `\\n` whatever a file has.
use regex_syntax::ast::{Ast, Literal, Visitor, parse::Parser, visit};

/// A pattern whose line feeds match `\\r\\n` too. A pattern that cannot be parsed stays as it is.
pub(crate) fn any_line_end(pattern: &str) -> String {
    let literals = literals(pattern);
    let mut result = String::new();
    let mut copied = 0;
    for literal in literals.iter().filter(|literal| literal.c == '\n') {
        let span = &literal.span;
        result.push_str(&pattern[copied..span.start.offset]);
        result.push_str("(?:\\r?\\n)");
        copied = span.end.offset;
    }
    result.push_str(&pattern[copied..]);
    result
}

/// Whether a pattern is about carriage returns.
pub(crate) fn mentions_return(pattern: &str) -> bool {
    literals(pattern).iter().any(|literal| literal.c == '\r')
}

/// The single characters of a pattern, those in classes left out.
fn literals(pattern: &str) -> Vec<Literal> {
    struct Literals(Vec<Literal>);
    impl Visitor for Literals {
        type Output = Vec<Literal>;
        type Err = ();
        fn finish(self) -> Result<Vec<Literal>, ()> {
            Ok(self.0)
        }
        fn visit_pre(&mut self, ast: &Ast) -> Result<(), ()> {
            if let Ast::Literal(literal) = ast {
                self.0.push((**literal).clone());
            }
            Ok(())
        }
    }
    let Ok(ast) = Parser::new().parse(pattern) else { return vec![] };
    visit(&ast, Literals(vec![])).unwrap_or_default()
}

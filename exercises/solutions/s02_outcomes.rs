/// What becomes of a call.
#[allow(dead_code)]
#[derive(Debug, Clone, Copy, PartialEq)]
enum Outcome {
    Runs,
    Fails,
    Refused,
    /// You have not said it yet.
    Unknown,
}

#[allow(unused_imports)]
use Outcome::{Fails, Refused, Runs, Unknown};

#[rustfmt::skip]
const OUTCOMES: [Outcome; 8] = [
    Runs,    // 1. it fits
    Fails,   // 2. only the handler knows the columns of the file
    Refused, // 3. a required argument is missing
    Refused, // 4. the schema has no `limit`, and a call without it would do less than was meant
    Fails,   // 5. a text like any other to the schema; the guard refuses it in the handler
    Refused, // 6. a number is no text, and which text was meant is not certain
    Refused, // 7. there is no such tool
    Runs,    // 8. another way to write the same path
];

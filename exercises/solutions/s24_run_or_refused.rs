/// Nine replies, each with the call `echo A`.
const SAME: &str = "RRRRxxx";
/// Twelve replies with one call each: `echo A`, `echo B`, `echo C`, `echo A`, and so on.
const CIRCLE: &str = "RRRRRRxxx";
/// Eight replies, each with the two calls `echo A` and `echo B`: two letters for a reply.
const PAIRS: &str = "RRRRRRRRxxxxxx";
/// Eight replies, each with the two calls `echo A` and `count`.
const ONE_OF_TWO: &str = "RRRRRRRRRRRRRRRR";
/// Five times `echo A`, then once `echo B`, then five times `echo A`, and an answer.
const A_WAY_OUT: &str = "RRRRxRRRRxx";

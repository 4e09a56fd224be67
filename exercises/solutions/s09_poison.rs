/// The letters that each turn gets, such as `&[&[1, 2], &[3]]`.
const DELIVERED: &[&[u64]] = &[&[1, 2, 3, 4], &[1, 2, 3, 4], &[1, 2], &[3, 4], &[3], &[3], &[4]];
/// The turn whose `receive` reports letter 3 as dead.
const DEAD_IN_TURN: usize = 7;

/// Requests carry 0, 8,000, 8,300, 16,300, 23,300 bytes of results, and then 30,800: with the rest,
/// that is more than the 28,000 bytes that 70 % of the window are.
const ROOM_BEFORE_REQUEST: usize = 6;

/// The newest steps keep 8,000 bytes, which is a fifth of the window: the fifth result fits, the
/// fourth with it does not. The second is too small for a stub. The sixth comes after.
const WHOLE: [Option<bool>; 6] =
    [Some(false), Some(true), Some(false), Some(false), Some(true), Some(true)];

// The counter is raised before each request, and a reminder comes when it is 4. A call that changes
// the plan sets it to zero, and so does a reminder; reading does not.
//
// request   2  3  4  5  6  7  8  9 10 11 12 13 ..
// counter   1  2  3  4  1  2  1  2  3  4  1  finished
const REMINDED: &[usize] = &[5, 11];

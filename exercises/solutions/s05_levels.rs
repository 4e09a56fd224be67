// The list stands in the system text, which all requests carry.
const WITH_DESCRIPTION: usize = 4;
// The result of the first call joins the second request, and stays.
const WITH_INSTRUCTIONS: usize = 3;
// The file joins the third.
const WITH_MORE: usize = 2;
// The third call brings no text: "`review` is loaded already".
const INSTRUCTIONS_IN_LAST: usize = 1;

//! Exact edits of texts of every kind.
use rungs_files::{EditError, ReadError, read_text, replace};

/// The new text, or the error message.
fn edit(content: &str, old: &str, new: &str, all: bool) -> Result<String, String> {
    replace(content, old, new, all).map(|edited| edited.text).map_err(|error| error.to_string())
}

#[test]
fn every_other_byte_is_left_alone() {
    for (content, old, new, result) in [
        ("a\nb\nc\n", "b", "B", "a\nB\nc\n"),
        ("a\nb\nc\n", "b\n", "", "a\nc\n"),
        ("a\nb", "b", "B", "a\nB"),
        ("a\nb", "b", "B\n", "a\nB\n"),
        ("a\nb\n", "a\nb\n", "x", "x"),
        ("a", "a", "", ""),
        // CRLF
        ("a\r\nb\r\nc\r\n", "b", "B", "a\r\nB\r\nc\r\n"),
        ("a\r\nb\r\nc\r\n", "a\nb\n", "x\ny\nz\n", "x\r\ny\r\nz\r\nc\r\n"),
        ("a\r\nb\r\nc\r\n", "a\r\nb", "x\r\ny", "x\r\ny\r\nc\r\n"),
        ("a\r\nb\r\nc", "c", "x\ny", "a\r\nb\r\nx\r\ny"),
        ("a\r\nb\r\nc", "\nb\n", "\n", "a\r\nc"),
        ("a\r\nb", "b", "1\r\n2\n3", "a\r\n1\r\n2\r\n3"),
        // Mixed line ends: the new lines end as those they replace.
        ("a\r\nb\nc\r\n", "b", "1\n2", "a\r\n1\n2\nc\r\n"),
        ("a\r\nb\nc\r\n", "a", "1\n2", "1\r\n2\r\nb\nc\r\n"),
        ("a\r\nb\nc\r\n", "a\nb\nc", "x\ny", "x\r\ny\r\n"),
        ("a\nb\r\nc\nd\n", "c\nd", "c\ne", "a\nb\r\nc\ne\n"),
        // Returns that end no line
        ("a\rb\nc\r\r\nd\n", "d", "D", "a\rb\nc\r\r\nD\n"),
        ("a\rb\n", "a\rb", "x", "x\n"),
        // Byte-order mark, and what is not ASCII
        ("\u{feff}a\nb\n", "a", "x", "\u{feff}x\nb\n"),
        ("\u{feff}a\r\nb\r\n", "a\nb", "x", "\u{feff}x\r\n"),
        (
            "na\u{ef}ve \u{1f600} caf\u{e9}\n",
            "\u{1f600}",
            "\u{1f601}",
            "na\u{ef}ve \u{1f601} caf\u{e9}\n",
        ),
        ("e\u{301}\n", "e\u{301}", "\u{e9}", "\u{e9}\n"),
        // White space is text
        ("\ta\n  a\n", "\ta", "\tb", "\tb\n  a\n"),
        ("a \nb\n", "a \n", "a\n", "a\nb\n"),
        // What would mean something to a regular expression or a shell
        ("x = $1.*(\\n)\n", "$1.*(\\n)", "$0 & \\1", "x = $0 & \\1\n"),
        ("\u{2028}a\u{85}b\n", "a", "x", "\u{2028}x\u{85}b\n"),
    ] {
        assert_eq!(edit(content, old, new, false).as_deref(), Ok(result), "{content:?} {old:?}");
    }
}

#[test]
fn all_are_replaced_when_all_are_meant() {
    for (content, old, new, result) in [
        ("a b a\n", "a", "x", "x b x\n"),
        ("a", "a", "aa", "aa"),
        ("aaaa", "aa", "b", "bb"),
        ("aaa", "aa", "b", "ba"),
        ("a\r\na\n", "a\n", "x\ny\n", "x\r\ny\r\nx\ny\n"),
    ] {
        assert_eq!(edit(content, old, new, true).as_deref(), Ok(result), "{content:?} {old:?}");
    }
}

#[test]
fn an_impossible_edit_is_an_error() {
    assert_eq!(replace("a", "", "x", false), Err(EditError::EmptyOld));
    assert_eq!(replace("a\r\nb", "a\nb", "a\r\nb", false), Err(EditError::NoChange));
    assert_eq!(replace("a\nb\na\n", "a", "x", false), Err(EditError::Ambiguous(vec![1, 3])));
    assert_eq!(
        replace("aaa", "aa", "x", false),
        Err(EditError::Ambiguous(vec![1, 1])),
        "they overlap"
    );
    assert_eq!(
        replace("\u{e9}\u{e9}\u{e9}", "\u{e9}\u{e9}", "x", false),
        Err(EditError::Ambiguous(vec![1, 1]))
    );
    assert_eq!(replace("", "a", "x", false), Err(EditError::NotFound));
    assert_eq!(
        edit(&"a\n".repeat(12), "a", "x", false).unwrap_err(),
        "`old_string` is there 12 times, on lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ...: add \
         lines around it until it is unique, or set `replace_all`"
    );
    assert_eq!(
        edit("", "a", "x", false).unwrap_err(),
        "`old_string` is not in the file, nor anything like it"
    );
}

#[test]
fn the_nearest_match_is_shown() {
    let code = "fn main() {\n    let total = add(1, 2);\n    println!(\"{total}\");\n}\n\n\
                fn add(a: i32, b: i32) -> i32 {\n    a + b\n}\n";
    for (old, message) in [
        (
            "    let total = add(1, 3);\n    println!(\"{total}\");",
            "`old_string` is not in the file; the nearest is at line 2 (`-` what was looked for, \
             `+` what is there):\n-    let total = add(1, 3);\n+    let total = add(1, 2);\n\
             \x20    println!(\"{total}\");\n",
        ),
        (
            "\ta + b",
            "`old_string` is not in the file; only white space differs; line 7 has U+0020 U+0020 \
             U+0020 U+0020 where `old_string` has U+0009; the nearest is at line 7 (`-` what was looked for, `+` what is there):\n-\ta + b\n+    a + b\n",
        ),
        (
            "     7\t    a + b\n     8\t}",
            "`old_string` is not in the file; leave out the line numbers and the tab after them; \
             the nearest is at line 7 (`-` what was looked for, `+` what is there):\n\
             -     7\t    a + b\n-     8\t}\n+    a + b\n+}\n",
        ),
    ] {
        assert_eq!(edit(code, old, "x", false).unwrap_err(), message);
    }
    let long: String = (1..=60).map(|line| format!("line {line}\n")).collect();
    let cut = edit(&long, &long.replace("line 1\n", "line one\n"), "x", false).unwrap_err();
    assert!(cut.ends_with(" line 38\n line 39\n[the rest is not shown]\n"), "{cut}");
}

#[test]
fn what_only_looks_the_same_is_named_with_its_place() {
    for (content, old, named) in [
        ("one\nit\u{2019}s\n", "it's", "line 2 has U+2019 where `old_string` has U+0027"),
        (
            "a\nb = \u{201c}x\u{201d}\n",
            "b = \"x\"",
            "line 2 has U+201C where `old_string` has U+0022, line 2 has U+201D where \
             `old_string` has U+0022",
        ),
        ("a \u{2014} b\n", "a - b", "line 1 has U+2014 where `old_string` has U+002D"),
        ("x\u{a0}= 1\n", "x = 1", "line 1 has U+00A0 where `old_string` has U+0020"),
        ("x\n\u{3000}y\n", "x\n y", "line 2 has U+3000 where `old_string` has U+0020"),
        ("cafe\u{301}\n", "caf\u{e9}", "line 1 has U+0065 U+0301 where `old_string` has U+00E9"),
        ("a\u{200b}b\n", "ab", "line 1 has U+0061 U+200B where `old_string` has U+0061"),
        (
            "if x:\n\treturn\n",
            "if x:\n    return",
            "line 2 has U+0009 where `old_string` has \
          U+0020 U+0020 U+0020 U+0020",
        ),
        ("a\rb\n", "a\nb", "line 1 has U+000D where `old_string` has U+000A"),
        ("'\0'\n", "'\u{2400}'", "line 1 has U+0000 where `old_string` has U+2400"),
        ("long line with it\u{2019}s in the midst of other words\n", "it's", "line 1 has U+2019"),
    ] {
        let error = edit(content, old, "new", false).unwrap_err();
        assert!(error.starts_with("`old_string` is not in the file; "), "{error}");
        assert!(error.contains(named), "{error}");
    }
    let many = format!("{}\n", "\u{2019}'".repeat(20));
    let error = edit(&many, &"''".repeat(20), "new", false).unwrap_err();
    assert!(error.contains(", 15 more differences; the nearest is at line 1"), "{error}");
}

#[test]
fn the_excerpt_shows_the_text_after_the_edit() {
    let content: String = (1..=20).map(|line| format!("line {line}\n")).collect();
    let edited = replace(&content, "line 10\n", "ten\nand a half\n", false).unwrap();
    assert_eq!(
        edited.excerpt(),
        "1 place:\n     7\tline 7\n     8\tline 8\n     9\tline 9\n    10\tten\n\
         \x20   11\tand a half\n    12\tline 11\n\
         \x20   13\tline 12\n    14\tline 13\n    15\tline 14\n"
    );
    let everywhere = replace(&content, "line", "row", true).unwrap().excerpt();
    assert!(
        everywhere.starts_with("20 places:\n     1\trow 1\n")
            && everywhere.ends_with("[17 more places]\n"),
        "{everywhere}"
    );
    let long = replace("a", "a", &"x\n".repeat(1000), false).unwrap().excerpt();
    assert!(long.lines().count() == 42 && long.ends_with(" more lines]\n"), "{long}");
}

#[test]
fn only_text_is_edited() {
    let read = |bytes: &[u8]| read_text(bytes).map_err(|error| format!("{error:?}"));
    assert_eq!(read("\u{feff}a\r\n".as_bytes()).as_deref(), Ok("\u{feff}a\r\n"));
    assert_eq!(read(b"one\ntwo\ncaf\xe9\n"), Err(format!("{:?}", ReadError::NotUtf8(3))));
    assert_eq!(read(b"\xff\xfea\0"), Err("Utf16".into()));
    assert_eq!(read(b"a\0"), Err("Binary".into()));
    assert_eq!(read(&vec![b'a'; 50_000_001]), Err("TooLargeToEdit".into()));
}

#[test]
fn large_files_are_edited_quickly() {
    let content =
        format!("{}needle\n{}", "hay in a stack\n".repeat(500_000), "more hay\r\n".repeat(500_000));
    let edited = replace(&content, "needle\n", "found\n", false).unwrap();
    assert_eq!(edited.text, content.replace("needle", "found"));
    // Too large to search for a similar text.
    assert_eq!(replace(&content, "no such line", "", false), Err(EditError::NotFound));
    let lines: String =
        (0..20_000).map(|line| format!("    let value_{line} = compute({line});\n")).collect();
    assert!(
        edit(&lines, "    let value_777 = compute(778);\n", "", false)
            .unwrap_err()
            .contains("at line 778 ")
    );
}

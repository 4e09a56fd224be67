// # Which branches collide
//
// predict, level 2, 15 minutes. Read: crates/worktree/src/overlap.rs
//
// Eight tasks were done side by side, each on its own branch. They all began with these files:
//
//     prices.txt   ten lines, from `apple 3` to `quince 6`
//     notes.txt    one line
//
//     dear       changes the first line of prices.txt to `apple 5`
//     cheap      changes the first line of prices.txt to `apple 2`
//     too-dear   changes the first line of prices.txt as `dear` does
//     last       changes the last line of prices.txt
//     rename     renames prices.txt to list.txt, and changes nothing in it
//     first-new  adds the file new.txt
//     drop       deletes notes.txt
//     edit       changes the line of notes.txt
//
// Lesson 23 merges each pair in memory. Say for the pairs below what it finds:
//
//     Nothing    no file was changed by both
//     Merges     both have changed the same file, and git can join the changes
//     Conflicts  git cannot join them
//
// Run: cargo run -p rungs-exercises -- run s23_which_collide

/// What a trial merge of two branches finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Nothing,
    #[allow(dead_code)]
    Merges,
    #[allow(dead_code)]
    Conflicts,
}
#[allow(unused_imports)]
use Found::{Conflicts, Merges, Nothing};

const PAIRS: [(&str, &str, Found); 8] = [
    ("dear", "cheap", Nothing),
    ("dear", "too-dear", Nothing),
    ("dear", "last", Nothing),
    ("dear", "rename", Nothing),
    ("dear", "first-new", Nothing),
    ("drop", "edit", Nothing),
    ("rename", "edit", Nothing),
    ("rename", "last", Nothing),
];

mod tests {
    use super::*;
    use rungs_exercises::support::git;
    use rungs_worktree::{Overlap, Trees};
    use std::{fs, path::Path};

    /// The work of a branch.
    fn work(branch: &str, tree: &Path) {
        let prices = tree.join("prices.txt");
        let replace = |old: &str, new: &str| {
            let text = fs::read_to_string(&prices).unwrap();
            fs::write(&prices, text.replace(old, new)).unwrap();
        };
        match branch {
            "dear" | "too-dear" => replace("apple 3", "apple 5"),
            "cheap" => replace("apple 3", "apple 2"),
            "last" => replace("quince 6", "quince 7"),
            "rename" => fs::rename(&prices, tree.join("list.txt")).unwrap(),
            "first-new" => fs::write(tree.join("new.txt"), "new\n").unwrap(),
            "drop" => fs::remove_file(tree.join("notes.txt")).unwrap(),
            "edit" => fs::write(tree.join("notes.txt"), "another line\n").unwrap(),
            other => panic!("there is no branch {other}"),
        }
    }

    /// What the trial merges of all pairs find.
    fn overlaps() -> Vec<Overlap> {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path();
        git(folder, "init -q -b main");
        for setting in ["user.name Tester", "user.email t@localhost"] {
            git(folder, &format!("config {setting}"));
        }
        let middle = "banana 1\ncherry 7\ndate 8\nelder 9\nfig 4\ngrape 5\nlemon 2\nmelon 9\n";
        fs::write(folder.join("prices.txt"), format!("apple 3\n{middle}quince 6\n")).unwrap();
        fs::write(folder.join("notes.txt"), "a line\n").unwrap();
        fs::write(folder.join(".git/info/exclude"), ".trees\n").unwrap();
        git(folder, "add -A");
        git(folder, "commit -qm Start");
        let trees = Trees::new(folder, folder.join(".trees"));
        for branch in ["dear", "cheap", "too-dear", "last", "rename", "first-new", "drop", "edit"] {
            let tree = trees.take(branch).unwrap();
            work(branch, tree.path());
            // Another message for each, so that no two commits are one.
            tree.commit(branch).unwrap();
        }
        trees.overlaps().unwrap()
    }

    /// What was found of these two.
    fn found(overlaps: &[Overlap], one: &str, two: &str) -> Found {
        let both = [format!("rungs/{one}"), format!("rungs/{two}")];
        let of_both =
            |overlap: &&Overlap| both.contains(&overlap.branch) && both.contains(&overlap.other);
        match overlaps.iter().find(of_both) {
            None => Nothing,
            Some(overlap) if overlap.conflicts.is_empty() => Merges,
            Some(_) => Conflicts,
        }
    }

    /// What to think of, for each pair.
    const ASK: [&str; 8] = [
        "both have changed one line, in two ways",
        "both have changed one line, in the same way. What would git have to choose?",
        "both have changed the file. How far apart are the lines?",
        "one side has another name for the file. Does git look for the file under its new name?",
        "which files did each of them change?",
        "one has deleted what the other has changed. Which of the two would be right?",
        "which files did each of them change?",
        "a comparison of names would list prices.txt and list.txt",
    ];

    #[test]
    fn the_trial_merges_find_what_was_predicted() {
        let overlaps = overlaps();
        let wrong: Vec<String> = PAIRS
            .iter()
            .zip(ASK)
            .filter(|((one, two, said), _)| *said != found(&overlaps, one, two))
            .map(|((one, two, said), ask)| format!("  {one} and {two}, not {said:?}: {ask}"))
            .collect();
        assert!(
            wrong.is_empty(),
            "the trial merge found something else for {} of {} pairs:\n{}",
            wrong.len(),
            PAIRS.len(),
            wrong.join("\n")
        );
    }
}

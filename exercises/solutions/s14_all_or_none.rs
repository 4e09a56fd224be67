use std::{collections::BTreeMap, fs, path::Path};

/// A change of one place in a file.
#[allow(dead_code)]
struct Edit {
    /// The file, by its name in the folder.
    file: &'static str,
    /// What is there; empty for a file that does not exist yet.
    old: &'static str,
    /// What is to be there.
    new: &'static str,
}

/// Makes all edits in this folder, or none: then why not.
fn edit_all(folder: &Path, edits: &[Edit]) -> Result<(), String> {
    let mut texts: BTreeMap<&str, String> = BTreeMap::new();
    for (edit, number) in edits.iter().zip(1..) {
        let error = |why: &str| format!("edit {number} of {}: {}: {why}", edits.len(), edit.file);
        let path = folder.join(edit.file);
        if edit.old.is_empty() {
            if texts.contains_key(edit.file) || path.exists() {
                return Err(error("there is such a file already"));
            }
            if !path.parent().is_some_and(Path::is_dir) {
                return Err(error("its folder does not exist"));
            }
            texts.insert(edit.file, edit.new.into());
            continue;
        }
        let text = match texts.remove(edit.file) {
            Some(text) => text,
            None => fs::read_to_string(&path).map_err(|why| error(&why.to_string()))?,
        };
        match text.matches(edit.old).count() {
            0 => return Err(error(&format!("`{}` is not in it", edit.old))),
            1 => texts.insert(edit.file, text.replace(edit.old, edit.new)),
            count => return Err(error(&format!("`{}` stands in it {count} times", edit.old))),
        };
    }
    // Only now, when all of them fit, is anything written.
    for (file, text) in texts {
        fs::write(folder.join(file), text).map_err(|why| format!("{file}: {why}"))?;
    }
    Ok(())
}

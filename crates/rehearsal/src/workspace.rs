//! The folder in which a play takes place.
use crate::format::{Folder, Setting};
use git2::{Commit, Repository, RepositoryInitOptions, Signature, Time};
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// Where the tools work while a script plays.
#[derive(Debug)]
pub enum Workspace {
    /// In the folder as it is.
    Here,
    /// In a folder made for the play.
    Fresh(TempFolder),
}

/// A temporary folder, removed when dropped.
#[derive(Debug)]
pub struct TempFolder {
    folder: TempDir,
    path: PathBuf,
}

impl Workspace {
    pub(crate) fn make(setting: &Setting) -> Result<Self, WorkspaceError> {
        match setting {
            Setting::Here => Ok(Workspace::Here),
            Setting::Fresh(folder) => TempFolder::fill(folder).map(Workspace::Fresh),
        }
    }

    /// The folder made for the play; `None` means the folder as it is.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Workspace::Here => None,
            Workspace::Fresh(folder) => Some(folder.path()),
        }
    }

    /// Lets a folder made for the play stay, and says where it is.
    pub fn keep(self) -> Option<PathBuf> {
        match self {
            Workspace::Here => None,
            Workspace::Fresh(folder) => Some(folder.keep()),
        }
    }
}

impl TempFolder {
    fn fill(plan: &Folder) -> Result<Self, WorkspaceError> {
        let at = |path: &Path| {
            let path = path.to_path_buf();
            move |error| WorkspaceError::Folder(path, error)
        };
        let folder = tempfile::Builder::new()
            .prefix("rehearsal-")
            .tempdir()
            .map_err(at(&std::env::temp_dir()))?;
        // Tools report resolved paths; a folder behind a link would look like another one.
        let path = folder.path().canonicalize().map_err(at(folder.path()))?;
        for (name, text) in &plan.files {
            let file = path.join(&name.0);
            if let Some(parent) = file.parent() {
                fs::create_dir_all(parent).map_err(at(parent))?;
            }
            fs::write(&file, text).map_err(at(&file))?;
        }
        if plan.git {
            commit_all(&path).map_err(|error| WorkspaceError::Git(path.clone(), error))?;
        }
        Ok(TempFolder { folder, path })
    }

    /// Where it is, with links resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets it stay.
    pub fn keep(self) -> PathBuf {
        let _ = self.folder.keep();
        self.path
    }
}

const NAME: &str = "Rungs";
const EMAIL: &str = "rungs@example.com";

/// A repository with one commit that is the same on every machine: fixed identity, fixed date, no person's settings.
fn commit_all(path: &Path) -> Result<(), git2::Error> {
    let mut options = RepositoryInitOptions::new();
    options.initial_head("main").external_template(false).no_reinit(true);
    let repository = Repository::init_opts(path, &options)?;
    // Only the repository's own settings: with a person's, line endings and ignored files could differ.
    let mut config = git2::Config::open(&repository.path().join("config"))?;
    // Who commits in the play needs an identity, and must not be asked for a signature.
    config.set_str("user.name", NAME)?;
    config.set_str("user.email", EMAIL)?;
    config.set_bool("commit.gpgsign", false)?;
    repository.set_config(&config)?;
    let mut index = repository.index()?;
    index.add_all(["*"], git2::IndexAddOption::DEFAULT, None)?;
    index.write()?;
    let tree = repository.find_tree(index.write_tree()?)?;
    // 2026-01-01 00:00 UTC.
    let author = Signature::new(NAME, EMAIL, &Time::new(1_767_225_600, 0))?;
    let parents: [&Commit; 0] = [];
    repository.commit(Some("HEAD"), &author, &author, "Start of the rehearsal", &tree, &parents)?;
    Ok(())
}

/// Why the folder of a play could not be made.
#[derive(Debug)]
pub enum WorkspaceError {
    /// A file or folder could not be written.
    Folder(PathBuf, io::Error),
    /// The git repository could not be made.
    Git(PathBuf, git2::Error),
}

impl fmt::Display for WorkspaceError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            WorkspaceError::Folder(path, error) => write!(f, "{}: {error}", path.display()),
            WorkspaceError::Git(path, error) => {
                write!(f, "git repository in {}: {}", path.display(), error.message())
            }
        }
    }
}

impl std::error::Error for WorkspaceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            WorkspaceError::Folder(_, error) => Some(error),
            WorkspaceError::Git(_, error) => Some(error),
        }
    }
}

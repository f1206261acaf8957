//! Whether the directories of kept code in a run are ours, as `python/training_monitor/snapshot` writes them.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

/// In the store: which attempt had which code.
const ATTEMPTS: &str = "attempts.jsonl";
/// In the store: which manifest tells what is in the tree.
const SHOWN: &str = "shown";
const OBJECTS: &str = "objects";
/// Ours are smaller.
const MOST_BYTES: u64 = 64 << 20;

/// Whether a directory holds objects and manifests, and nothing else.
pub(crate) fn is_store(path: &Path) -> bool {
    let is_ours = |name: &str, is_dir: bool| {
        let manifest = name.strip_suffix(".json").is_some_and(is_hash);
        (is_dir && (name == OBJECTS || name.starts_with(".tree-") || name.starts_with(".old-")))
            || (!is_dir
                && (manifest || name == ATTEMPTS || name == SHOWN || name.starts_with(".new-")))
    };
    is_dir(path)
        && fs::read_dir(path).is_ok_and(|entries| {
            entries.flatten().all(|entry| {
                let kind = entry.file_type();
                kind.is_ok_and(|kind| is_ours(&entry.file_name().to_string_lossy(), kind.is_dir()))
            })
        })
}

/// Whether a directory holds files of the snapshot that the store beside it says it shows, and nothing else.
pub(crate) fn is_tree(path: &Path) -> bool {
    let Some(store) = path.parent().map(|run| run.join(".code")) else {
        return false;
    };
    is_dir(path)
        && is_store(&store)
        && shown_paths(&store).is_ok_and(|paths| holds_only(path, &paths))
}

fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.is_dir())
}

/// What names an object or a manifest.
fn is_hash(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

fn shown_paths(store: &Path) -> io::Result<HashSet<PathBuf>> {
    let hash = String::from_utf8_lossy(&read(&store.join(SHOWN))?)
        .trim()
        .to_owned();
    if !is_hash(&hash) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let manifest: Json = serde_json::from_slice(&read(&store.join(format!("{hash}.json")))?)?;
    let files = manifest["files"].as_array();
    let paths = files
        .into_iter()
        .flatten()
        .filter_map(|file| file["path"].as_str());
    Ok(paths.map(PathBuf::from).collect())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let mut text = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut text)?;
    Ok(text)
}

fn holds_only(tree: &Path, paths: &HashSet<PathBuf>) -> bool {
    let mut pending = vec![tree.to_path_buf()];
    while let Some(dir) = pending.pop() {
        let Ok(entries) = fs::read_dir(&dir) else {
            return false;
        };
        for entry in entries.flatten() {
            let (path, kind) = (entry.path(), entry.file_type());
            let known = path
                .strip_prefix(tree)
                .is_ok_and(|path| paths.contains(path));
            match kind {
                Ok(kind) if kind.is_dir() => pending.push(path),
                Ok(kind) if kind.is_file() && known => {}
                _ => return false,
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run directory whose tree shows one file.
    fn run() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let (store, tree) = (dir.path().join(".code"), dir.path().join("code"));
        fs::create_dir_all(store.join(OBJECTS)).unwrap();
        fs::create_dir_all(tree.join("model")).unwrap();
        fs::write(tree.join("model/net.py"), "x = 1\n").unwrap();
        let hash = "0".repeat(64);
        fs::write(store.join(SHOWN), format!("{hash}\n")).unwrap();
        fs::write(store.join(ATTEMPTS), "").unwrap();
        let manifest = r#"{"files": [{"path": "model/net.py"}]}"#;
        fs::write(store.join(format!("{hash}.json")), manifest).unwrap();
        dir
    }

    #[test]
    fn what_the_manifest_names_is_ours() {
        let dir = run();
        assert!(is_store(&dir.path().join(".code")));
        assert!(is_tree(&dir.path().join("code")));
    }

    #[test]
    fn a_tree_with_a_file_or_a_link_of_somebody_else_is_not_ours() {
        let dir = run();
        fs::write(dir.path().join("code/notes.txt"), "mine").unwrap();
        assert!(!is_tree(&dir.path().join("code")));
        let dir = run();
        fs::remove_file(dir.path().join("code/model/net.py")).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("code/model/net.py")).unwrap();
        assert!(!is_tree(&dir.path().join("code")));
    }

    #[test]
    fn a_directory_named_code_without_a_store_is_not_ours() {
        let dir = run();
        fs::remove_file(dir.path().join(".code").join(SHOWN)).unwrap();
        assert!(!is_tree(&dir.path().join("code")));
        fs::write(dir.path().join(".code/mine"), "").unwrap();
        assert!(!is_store(&dir.path().join(".code")));
    }
}

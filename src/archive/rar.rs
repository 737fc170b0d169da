//! rar, also in volumes (`x.part1.rar`, … or `x.rar`, `x.r00`, …).

use std::{
    collections::HashMap,
    io::{self, BufReader, Write},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use rars::{
    Archive, ArchiveFamily, ArchiveMember, ArchiveMemberDetail, ArchiveReadOptions, ArchiveReader,
    ErrorKind, extract_volumes_with_links, volume_members,
};
use sonotune_base::Error;

use super::{
    entry::{Entry, Gate, Kind},
    format::Format,
    source::{Source, is_volume, numbered},
    write::{BUFFER_LEN, EntryFile, check_space, damaged, unreadable},
};

/// Hosts by number in RAR 1.5 to 4.
const HOST_UNIX: u64 = 3;
/// A redirection type of RAR 5: a file stored as a reference to an identical one.
const FILE_COPY: u64 = 5;

/// Gathers all volumes of a rar; returns any other archive unchanged.
pub(super) fn gather(
    format: Format,
    source: &Source,
    beside: &dyn Fn(&str) -> Option<PathBuf>,
) -> Result<Vec<Source>> {
    let mut volumes = vec![source.clone()];
    // One that cannot be parsed is reported when it is unpacked.
    let first = if format == Format::Rar { open(source).ok() } else { None };
    let Some(mut last) = first.filter(is_one_of_a_set) else { return Ok(volumes) };
    if last.members().next().is_some_and(|m| m.meta.is_split_before) {
        return Err(Error::data(format!(
            "{}: is a later volume of a rar; pass the first one instead",
            source.key
        ))
        .into());
    }
    for number in 2.. {
        let Some(name) = volume_name(&source.name, number) else { break };
        let Some(path) = beside(&name) else {
            if last.members().last().is_some_and(|m| m.meta.is_split_after) {
                return Err(Error::data(format!(
                    "{}: continues in volume {number}, and {name} is missing; put all volumes into \
                     its folder",
                    source.key
                ))
                .into());
            }
            break;
        };
        let folder = source.key.rsplit_once('/').map_or("", |(folder, _)| folder);
        let volume = Source::open(&super::tree::join(folder, &name), &path, &|_| None)?;
        last = open(&volume).map_err(|e| unreadable(&volume.key, &e))?;
        volumes.push(volume);
    }
    Ok(volumes)
}

pub(super) fn unpack(volumes: &[Source], gate: &mut Gate<'_>) -> Result<()> {
    let target = gate.target;
    let fail = |e: &rars::Error| explain(target.archive, None, e);
    let archives =
        volumes.iter().map(open).collect::<rars::Result<Vec<_>>>().map_err(|e| fail(&e))?;
    let members = volume_members(&archives).map_err(|e| fail(&e))?;
    let mut places = HashMap::new();
    for member in &members {
        let decoded = member.decoded_name(None);
        let stored = decoded.as_deref().unwrap_or(&member.meta.name);
        let name = gate.text(stored, "unar -e gbk ARCHIVE")?;
        let entry = Entry {
            name: &name,
            kind: kind(member),
            size: member.meta.unpacked_size,
            packed: None,
            encrypted: member.meta.is_encrypted,
        };
        if let Some(path) = gate.admit(&entry)? {
            places.insert(member.meta.name.clone(), (path, member.meta.unpacked_size));
        }
    }
    check_space(target.archive, target.folder, gate.declared())?;
    extract(&archives, &places, gate)
}

/// Path and size of the entries to be written, by their stored name.
type Places = HashMap<Vec<u8>, (String, u64)>;

fn extract(archives: &[Archive], places: &Places, gate: &Gate<'_>) -> Result<()> {
    let target = gate.target;
    let current = Current::default();
    let mut at = None;
    let mut reported = 0;
    let done = extract_volumes_with_links(
        archives,
        ArchiveReadOptions::new(),
        |meta| {
            current.finish();
            let (_, bytes) = target.written();
            (target.progress)(bytes - reported);
            reported = bytes;
            let Some((path, size)) = places.get(&meta.name).filter(|_| !meta.is_directory) else {
                return Ok(Box::new(io::sink()));
            };
            at = Some(path.clone());
            match target.go_on().and_then(|()| target.create(path, *size)) {
                Ok(file) => current.set(file),
                Err(error) => current.fail(error),
            }
            Ok(Box::new(current.clone()))
        },
        |_, _| Ok(()),
    );
    if done.is_ok() {
        current.finish();
    }
    (target.progress)(target.written().1 - reported);
    // Our own error comes first: the reader only knows that writing failed.
    if let Some(error) = current.take_failure() {
        return Err(error);
    }
    done.map_err(|e| explain(target.archive, at.as_deref(), &e))
}

/// The file that is being unpacked. The reader owns its output, so the file is shared.
#[derive(Clone, Default)]
struct Current(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    file: Option<EntryFile>,
    failure: Option<anyhow::Error>,
}

impl Current {
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, file: EntryFile) {
        self.with(|state| state.file = Some(file));
    }

    fn fail(&self, error: anyhow::Error) {
        self.with(|state| {
            state.file = None;
            state.failure.get_or_insert(error);
        });
    }

    fn take_failure(&self) -> Option<anyhow::Error> {
        self.with(|state| state.failure.take())
    }

    /// Checks the size of a finished file against what the archive declares.
    fn finish(&self) {
        let file = self.with(|state| state.file.take());
        if let Some(Err(error)) = file.map(EntryFile::finish) {
            self.fail(error);
        }
    }
}

impl Write for Current {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.with(|state| state.file.as_mut().map(|file| file.append(bytes)));
        match written {
            Some(Ok(())) => Ok(bytes.len()),
            Some(Err(error)) => {
                self.fail(error);
                Err(io::Error::other("cannot be written"))
            }
            None => Err(io::Error::other("cannot be written")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn open(source: &Source) -> rars::Result<Archive> {
    ArchiveReader::read_reader(BufReader::with_capacity(BUFFER_LEN, source.cursor()))
}

fn is_one_of_a_set(archive: &Archive) -> bool {
    archive.as_rar13().is_some_and(|a| a.main.is_volume())
        || archive.as_rar15_40().is_some_and(|a| a.main.is_volume())
        || archive.as_rar50().is_some_and(|a| a.main.is_volume())
}

/// Name of volume `number` (2 or more) of the set that begins with `first`.
fn volume_name(first: &str, number: usize) -> Option<String> {
    let (stem, ending) = first.rsplit_once('.')?;
    if let Some((stem, part)) = stem.rsplit_once('.').filter(|(_, part)| is_volume(part)) {
        let width = part.len() - "part".len();
        return Some(format!("{stem}.part{number:0width$}.{ending}"));
    }
    if numbered(first).is_some() {
        return None;
    }
    let (letter, number) = ((number - 2) / 100, (number - 2) % 100);
    let letter = char::from(b'r' + u8::try_from(letter).ok().filter(|l| *l <= b'z' - b'r')?);
    Some(format!("{stem}.{letter}{number:02}"))
}

fn kind(member: &ArchiveMember) -> Kind {
    let meta = &member.meta;
    let unix = meta.family == ArchiveFamily::Rar15To40 && meta.host_os == Some(HOST_UNIX);
    match u32::try_from(meta.file_attr) {
        _ if meta.is_directory => Kind::Folder,
        // If it were left out like a link, an image would be missing.
        _ if is_file_copy(&member.detail) => Kind::Special("a reference to another file"),
        _ if meta.is_redirection => Kind::Link,
        Ok(mode) if unix => Kind::of_mode(mode),
        _ => Kind::File,
    }
}

fn is_file_copy(detail: &ArchiveMemberDetail) -> bool {
    let ArchiveMemberDetail::Rar50Plus { redirection, .. } = detail else { return false };
    redirection.as_ref().is_some_and(|to| to.redirection_type == FILE_COPY)
}

fn explain(archive: &str, at: Option<&str>, error: &rars::Error) -> anyhow::Error {
    // The reader is built without decryption and reports encrypted headers with this error.
    let encrypted = matches!(error.root_cause(), rars::Error::FeatureDisabled { .. });
    match error.kind() {
        ErrorKind::PasswordRequired | ErrorKind::BadPassword => password_needed(archive),
        _ if encrypted => password_needed(archive),
        ErrorKind::UnsupportedFeature | ErrorKind::UnsupportedFormat => Error::data(format!(
            "{archive}: uses an unsupported feature ({error}); run `unar` or `7z x` on it and pass the \
             folder"
        ))
        .into(),
        _ => match at {
            Some(entry) => damaged(archive, entry, error),
            None => unreadable(archive, error),
        },
    }
}

fn password_needed(archive: &str) -> anyhow::Error {
    Error::data(format!(
        "{archive}: is encrypted; unpack it by hand with its password and pass the folder"
    ))
    .into()
}

#[cfg(test)]
mod tests {
    use super::volume_name;

    #[test]
    fn volumes_follow_both_ways_of_naming() {
        assert_eq!(volume_name("a.part1.rar", 2).unwrap(), "a.part2.rar");
        assert_eq!(volume_name("a.part09.rar", 10).unwrap(), "a.part10.rar");
        assert_eq!(volume_name("a.rar", 2).unwrap(), "a.r00");
        assert_eq!(volume_name("a.rar", 102).unwrap(), "a.s00");
        assert_eq!(volume_name("a.rar", 5000), None);
    }
}

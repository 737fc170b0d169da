//! Pseudonyms: one-way functions of what a file says and of a secret.

use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use anyhow::{Context, Result, anyhow};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sonotune_base::{Error, fs::explain};

/// Shorter ones can be found by trying them all.
const MIN_BYTES: usize = 16;
/// A salt is a line; anything much longer is the wrong file.
const MAX_BYTES: u64 = 4096;
/// Dates move back by at most this many days: ten years.
const MAX_DAYS: u64 = 3653;

/// The secret that pseudonyms, UIDs and shifts of dates depend on. The same salt gives the same ones, in any run;
/// without it, they cannot be computed from a patient's id.
pub struct Salt {
    secret: Vec<u8>,
}

// The secret must not end up in a log.
impl std::fmt::Debug for Salt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Salt")
    }
}

impl Salt {
    /// The salt in a file: its bytes without surrounding white space.
    ///
    /// # Errors
    /// If it cannot be read, or is shorter than 16 bytes or longer than 4096.
    pub fn read(path: &Path) -> Result<Self> {
        let name = path.display();
        let metadata = std::fs::metadata(path).map_err(|e| {
            anyhow!(e).context(Error::config(format!("cannot read the salt {name}")))
        })?;
        let wrong = |found: String| {
            Error::config(format!(
                "salt {name}: expected {MIN_BYTES} to {MAX_BYTES} bytes, found {found}; give a file that an \
                 earlier run wrote, or leave out --salt and a new one is written"
            ))
        };
        if !metadata.is_file() {
            return Err(wrong("no regular file".into()).into());
        }
        if metadata.len() > MAX_BYTES {
            return Err(wrong(format!("{}", metadata.len())).into());
        }
        let bytes = std::fs::read(path).with_context(|| format!("cannot read the salt {name}"))?;
        let secret = bytes.trim_ascii().to_vec();
        if secret.len() < MIN_BYTES {
            return Err(wrong(format!("{}", secret.len())).into());
        }
        Ok(Self { secret })
    }

    /// A new random salt of 256 bits, written to `path`, which only its owner can read.
    ///
    /// # Errors
    /// If `path` exists or cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let salt = Self::random()?;
        let write = || {
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(&salt.secret)?;
            file.write_all(b"\n")?;
            file.sync_all()
        };
        write().map_err(|e| explain(path, e))?;
        Ok(salt)
    }

    /// A new random salt that is kept nowhere.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn random() -> Result<Self> {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes)
            .map_err(|e| anyhow!("no random numbers from the system: {e}"))?;
        let secret = bytes.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect();
        Ok(Self { secret })
    }

    /// The pseudonym of a patient: `P` and 16 hexadecimal digits.
    #[must_use]
    pub fn patient(&self, id: &str) -> String {
        format!("P{:016X}", self.number("patient", id) >> 64)
    }

    /// The UID that takes the place of `uid`, below the root 2.25 (PS3.5, B.2).
    #[must_use]
    pub fn uid(&self, uid: &str) -> String {
        // A number below 2.25 is a UUID; version 8 and variant 2 mark one made by a rule of one's own.
        let uuid = self.number("uid", uid) & !(0xf << 76) & !(0b11 << 62);
        format!("2.25.{}", uuid | (8 << 76) | (0b10 << 62))
    }

    /// By how many days a patient's dates move back: 1 to 3653.
    #[must_use]
    pub fn days(&self, patient: &str) -> u64 {
        // The remainder of 128 bits is even enough.
        (self.number("days", patient) % u128::from(MAX_DAYS)) as u64 + 1
    }

    /// 128 bits of HMAC-SHA256 with the secret as key; `purpose` keeps the uses apart.
    fn number(&self, purpose: &str, value: &str) -> u128 {
        let mut bytes = [0_u8; 16];
        // A key of any length will do, so that this never fails.
        if let Ok(mut code) = Hmac::<Sha256>::new_from_slice(&self.secret) {
            code.update(purpose.as_bytes());
            code.update(&[0]);
            code.update(value.as_bytes());
            bytes.copy_from_slice(&code.finalize().into_bytes()[..16]);
        }
        u128::from_be_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn salt(text: &str) -> Salt {
        Salt { secret: text.as_bytes().to_vec() }
    }

    #[test]
    fn pseudonyms_depend_on_the_salt_and_the_value_alone() {
        let (a, b) = (salt("0123456789abcdef"), salt("0123456789abcdeg"));
        assert_eq!(a.patient("4711"), a.patient("4711"));
        assert_ne!(a.patient("4711"), a.patient("4712"));
        assert_ne!(a.patient("4711"), b.patient("4711"));
        assert_ne!(a.uid("1.2.3"), b.uid("1.2.3"));
        assert_eq!(a.patient("4711").len(), 17);
    }

    /// Computed with Python's hmac, hashlib and uuid.
    #[test]
    fn they_are_hmac_sha256() {
        let salt = salt("0123456789abcdef");
        assert_eq!(salt.patient("4711"), "P2A789173CD9ECF17");
        assert_eq!(salt.uid("1.2.3"), "2.25.338326801801225506579552357228112123619");
        assert_eq!(salt.days("4711"), 2032);
    }

    #[test]
    fn days_stay_in_their_range() {
        let salt = salt("0123456789abcdef");
        let days: Vec<u64> = (0..5000).map(|i| salt.days(&i.to_string())).collect();
        assert!(days.iter().all(|d| (1..=MAX_DAYS).contains(d)));
        assert!(days.iter().max() > Some(&3600) && days.iter().min() < Some(&50));
    }

    #[test]
    fn a_new_salt_is_private_and_is_not_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.salt");
        let made = Salt::create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Salt::read(&path).unwrap().patient("a"), made.patient("a"));
        assert!(Salt::create(&path).is_err());
        assert_eq!(Salt::read(&path).unwrap().patient("a"), made.patient("a"));
        assert_eq!(format!("{made:?}"), "Salt");
    }

    #[test]
    fn a_weak_salt_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("salt");
        for (bytes, found) in [(b"   secret  \n".to_vec(), "found 6"), (vec![b'a'; 5000], "5000")] {
            std::fs::write(&path, bytes).unwrap();
            let error = format!("{:#}", Salt::read(&path).unwrap_err());
            assert!(
                error.contains("expected 16 to 4096 bytes") && error.contains(found),
                "{error}"
            );
        }
        assert!(Salt::read(&folder.path().join("none")).is_err());
        assert!(Salt::read(folder.path()).is_err());
    }
}

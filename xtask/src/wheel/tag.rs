//! The platform in a wheel's name, computed from what its programs and libraries need.

use anyhow::{Result, bail};

use crate::elf::{Needs, Version};

/// What AlmaLinux 8 has, for which `manylinux_2_28` stands; newer tags allow no more, because a newer C++ library
/// does not come with a newer C library.
const CPP: [(&str, &str); 3] = [("GLIBCXX", "3.4.24"), ("CXXABI", "1.3.11"), ("GCC", "7.0.0")];

/// `manylinux_2_28_x86_64`: the oldest C library on which files with these needs start. pip refuses the wheel on older
/// ones, on other processors and on other systems.
///
/// # Errors
/// If they need no GNU C library.
pub(super) fn of(needs: &Needs) -> Result<String> {
    let name = needs.glibc()?.to_string().replace('.', "_");
    Ok(format!("manylinux_{name}_{}", std::env::consts::ARCH))
}

/// Whether the C++ library is as old as the tag promises.
///
/// # Errors
/// If the files need a newer one.
pub(super) fn ensure_promised(needs: &Needs) -> Result<()> {
    for (family, newest) in CPP {
        let Some(needed) = needs.versions.get(family) else { continue };
        if Version::parse(newest).is_some_and(|newest| *needed > newest) {
            bail!(
                "the wheel needs {family}_{needed}, and a manylinux wheel may need {family}_{newest} at most: something \
                 was linked without the stubs of target/wheel/old-linux"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(named: &[&str]) -> Needs {
        let mut needs = Needs::default();
        for named in named {
            let (name, version) = Version::named(named).unwrap();
            needs.versions.insert(name.to_owned(), version);
        }
        needs
    }

    #[test]
    fn the_tag_follows_the_newest_symbol() {
        let tag = |glibc: &str| of(&needs(&[glibc, "GLIBCXX_3.4.22"])).unwrap();
        assert!(tag("GLIBC_2.28").starts_with("manylinux_2_28_"), "{}", tag("GLIBC_2.28"));
        assert!(tag("GLIBC_2.35").starts_with("manylinux_2_35_"));
    }

    #[test]
    fn a_newer_cpp_library_is_refused() {
        let newer = needs(&["GLIBC_2.28", "GLIBCXX_3.4.29"]);
        let message = ensure_promised(&newer).unwrap_err().to_string();
        assert!(
            message.contains("GLIBCXX_3.4.29") && message.contains("GLIBCXX_3.4.24"),
            "{message}"
        );
        ensure_promised(&needs(&["GLIBC_2.28", "GLIBCXX_3.4.24"])).unwrap();
        assert!(of(&needs(&[])).is_err());
    }
}

//! [`Volume`]: what a container has mounted beside `/app`: a volume of its own, or a part of the host's disk. Whether that part
//! may be mounted is the door's to say, which sees the disk.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{owner::Owner, schema::described, text::text};

/// Where the container sees what its `requirements.txt` had installed.
pub const PACKAGES: &str = "/berth-packages";

/// What the names of volumes with packages begin with, as no client's volume does.
pub const PACKAGES_PREFIX: &str = "_packages.";

/// One mount of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct Volume {
    pub source: Source,
    pub container_path: ContainerPath,
    pub mode: Mode,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A volume of the container's own, which no other container sees.
    Volume(VolumeName),
    Host(HostPath),
}

/// What the container may do with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = VolumeMode)]
pub enum Mode {
    #[default]
    #[serde(rename = "rw")]
    ReadWrite,
    #[serde(rename = "ro")]
    ReadOnly,
}

impl Volume {
    /// The volume that the server adds for a container's packages. What it keeps can be had again. Each owner has another, as
    /// nobody can remove what is somebody else's; `None` is whoever the image says.
    pub fn packages(owner: Option<Owner>) -> Self {
        let owner = owner.map_or("image".to_owned(), |owner| format!("{}.{}", owner.uid, owner.gid));
        let name = VolumeName(format!("{PACKAGES_PREFIX}{owner}"));
        Self { source: Source::Volume(name), container_path: ContainerPath(PACKAGES.to_owned()), mode: Mode::ReadWrite }
    }

    /// Whether it is that volume.
    pub fn is_packages(&self) -> bool {
        matches!(&self.source, Source::Volume(name) if name.as_str().starts_with(PACKAGES_PREFIX))
    }
}

/// A mount as clients write it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object of volume or host_path, container_path and mode")]
struct Fields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    volume: Option<VolumeName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host_path: Option<HostPath>,
    container_path: ContainerPath,
    #[serde(default)]
    mode: Mode,
}

impl TryFrom<Fields> for Volume {
    type Error = &'static str;

    fn try_from(fields: Fields) -> Result<Self, Self::Error> {
        let source = match (fields.volume, fields.host_path) {
            (Some(name), None) => Source::Volume(name),
            (None, Some(path)) => Source::Host(path),
            _ => return Err("a mount has either a volume or a host_path"),
        };
        Ok(Self { source, container_path: fields.container_path, mode: fields.mode })
    }
}

impl From<Volume> for Fields {
    fn from(Volume { source, container_path, mode }: Volume) -> Self {
        let (volume, host_path) = match source {
            Source::Volume(name) => (Some(name), None),
            Source::Host(path) => (None, Some(path)),
        };
        Self { volume, host_path, container_path, mode }
    }
}

text!(
    /// The name of one of the container's own volumes.
    VolumeName,
    {"type": "string", "pattern": "^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$", "examples": ["data"]},
    |text| {
        let fits = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.len() <= 63
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        if fits { Ok(()) } else { Err("a volume is 1 to 63 of a-z, A-Z, 0-9, _, . and -, the first a letter or digit".into()) }
    }
);

text!(
    /// An absolute path of the host, as it was asked for.
    HostPath,
    {"type": "string", "pattern": r"^/[^\x00]*$", "maxLength": 4095, "examples": ["/srv/models"]},
    |text| if text.starts_with('/') && !text.contains('\0') && text.len() < PATH_BYTES {
        Ok(())
    } else {
        Err("a host path is absolute, without NUL".into())
    }
);

text!(
    /// Where the container sees it: an absolute path without `.`, `..` and empty parts, which hides nothing that the
    /// container can't do without.
    ContainerPath,
    {
        "type": "string",
        "maxLength": 2048,
        "pattern": r"^(?!/(?:proc|sys|dev|berth-packages)(?:/|$))(?!/app$)(?:/(?!\.{1,2}(?:/|$))[^/:\x00]{1,255})+$",
        "examples": ["/data"],
    },
    |text| {
        let plain = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 255;
        // The short form of a mount, which Compose may write, is cut at its colons.
        let fits = text.len() <= CONTAINER_PATH && !text.contains(['\0', ':']);
        let Some(path) = text.strip_prefix('/').filter(|path| fits && path.split('/').all(plain)) else {
            return Err("a path in the container is absolute, without ., .., //, a colon and NUL, and not / itself".into());
        };
        match path.split('/').next() {
            Some("proc" | "sys" | "dev") => Err("nothing can be mounted at or below /proc, /sys and /dev".into()),
            Some("berth-packages") => Err("/berth-packages is where the server has packages installed".into()),
            _ if path == "app" => Err("/app is the container's mount; a volume can stand below it".into()),
            _ => Ok(()),
        }
    }
);

described! {
    Volume: {"oneOf": [
        {
            "type": "object",
            "required": ["volume", "container_path"],
            "properties": {
                "volume": VolumeName::schema(),
                "host_path": {"type": "null"},
                "container_path": ContainerPath::schema(),
                "mode": Mode::schema(),
            },
            "additionalProperties": false,
        },
        {
            "type": "object",
            "required": ["host_path", "container_path"],
            "properties": {
                "volume": {"type": "null"},
                "host_path": HostPath::schema(),
                "container_path": ContainerPath::schema(),
                "mode": Mode::schema(),
            },
            "additionalProperties": false,
        },
    ], "examples": [{"volume": "data", "container_path": "/data", "mode": "rw"}]}
}

/// The kernel's bound on a path, its NUL included.
const PATH_BYTES: usize = 4096;

/// The longest path in a container, in bytes: for the kernel, the folder that the engine has the container in comes before it.
pub(super) const CONTAINER_PATH: usize = 2048;

impl ContainerPath {
    /// The folder that it stands in, and its name there.
    pub fn split(&self) -> (&str, &str) {
        match self.as_str().rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some(split) => split,
            None => ("/", self.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(json: &str) -> bool {
        serde_json::from_str::<Volume>(json).is_ok()
    }

    #[test]
    fn a_mount_is_one_thing_at_one_path() {
        for json in [
            r#"{"volume":"v","container_path":"/data"}"#,
            r#"{"volume":"a.B_c-1","container_path":"/app/data","mode":"ro"}"#,
            r#"{"host_path":"/srv/../x","container_path":"/a b/$c/ü"}"#,
            r#"{"volume":"v","container_path":"/apple"}"#,
            r#"{"volume":"v","container_path":"/devices/..."}"#,
        ] {
            assert!(taken(json), "{json}");
        }
        for json in [
            r#"{"container_path":"/data"}"#,
            r#"{"volume":"v","host_path":"/x","container_path":"/data"}"#,
            r#"{"volume":"v"}"#,
            r#"{"volume":"v","container_path":"/data","mode":"rwx"}"#,
            r#"{"volume":"v","container_path":"/data","readonly":true}"#,
            r#"{"host_path":"x","container_path":"/data"}"#,
            r#"{"host_path":"/x\u0000","container_path":"/data"}"#,
        ] {
            assert!(!taken(json), "{json}");
        }
        for name in ["", "-a", ".a", "a/b", "a b", "$a", "ü", &"a".repeat(64)] {
            assert!(!taken(&format!(r#"{{"volume":"{name}","container_path":"/data"}}"#)), "{name}");
        }
    }

    #[test]
    fn nothing_is_mounted_over_what_a_container_can_t_do_without() {
        for path in [
            "",
            "/",
            "data",
            "/app",
            "/proc",
            "/proc/1",
            "/sys/x",
            "/dev",
            "/dev/shm",
            PACKAGES,
            "/berth-packages/x",
            "/a/../b",
            "/./a",
            "/a/",
            "//a",
            "/a//b",
            "/a:b",
            "/..",
            "/a\\u0000",
        ] {
            assert!(!taken(&format!(r#"{{"volume":"v","container_path":"{}"}}"#, path.replace("\\\\", "\\"))), "{path}");
        }
        assert!(!taken(&format!(r#"{{"volume":"v","container_path":"/{}"}}"#, "a".repeat(256))));
    }

    #[test]
    fn a_mount_is_shown_as_it_was_asked_for() {
        let json = r#"{"host_path":"/srv/x","container_path":"/data","mode":"ro"}"#;
        let volume: Volume = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&volume).unwrap(), json);
        for (path, split) in [("/data", ("/", "data")), ("/a/b/c", ("/a/b", "c"))] {
            assert_eq!(ContainerPath::try_from(path.to_owned()).unwrap().split(), split);
        }
    }
}

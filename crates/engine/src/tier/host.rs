//! The engine that is built into the process that has loaded this one: what its code is known by.

use wasm_compile_cache_store::{ArtifactKey, ModuleHash};

/// What V8's code depends on beside a module's bytes.
#[derive(Debug, Clone)]
pub struct Host {
    /// V8's version.
    pub version: String,
    /// What V8 says of its version, its flags and the processor in one number (`v8.cachedDataVersionTag`).
    pub tag: String,
    /// Operating system and architecture, as Node names them.
    pub target: String,
    /// The options of the standard's with which the module is compiled, as a text; empty where there are none.
    pub options: String,
}

/// The first field of a fingerprint of V8's; that of an artifact of this engine has another name.
const ENGINE: (&str, &str) = ("engine", "v8");

impl Host {
    fn fields(&self) -> [(&'static str, &str); 5] {
        [
            ENGINE,
            ("v8", &self.version),
            ("tag", &self.tag),
            ("target", &self.target),
            ("options", &self.options),
        ]
    }

    /// The fingerprint of V8's artifacts in this process.
    pub fn fingerprint(&self) -> Vec<(String, String)> {
        let fields = self.fields().into_iter();
        fields
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    /// The key of its code of a module.
    pub(super) fn key(&self, module: &ModuleHash, partition: &str) -> ArtifactKey {
        ArtifactKey::new(module, &self.fields(), partition)
    }
}

/// Whether an artifact of this fingerprint is V8's.
pub fn is_hosts(fingerprint: &[(String, String)]) -> bool {
    fingerprint
        .first()
        .is_some_and(|(name, value)| (name.as_str(), value.as_str()) == ENGINE)
}

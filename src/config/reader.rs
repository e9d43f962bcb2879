//! Reading one setting: absent, given, or given and unusable. Which settings there are is `config`'s.

use std::str::FromStr;

use super::ConfigError;

/// Reads single settings; each method takes a name, a default and what the setting takes.
pub(super) struct Reader<'a> {
    pub(super) lookup: &'a dyn Fn(&'static str, &'static str) -> Option<String>,
}

impl Reader<'_> {
    /// What is set, unless that is nothing but spaces.
    pub(super) fn given(&self, name: &'static str, default: &'static str) -> Option<String> {
        (self.lookup)(name, default).filter(|value| !value.trim().is_empty())
    }

    pub(super) fn text(&self, name: &'static str, default: &'static str) -> String {
        self.given(name, default).unwrap_or_else(|| default.to_owned())
    }

    pub(super) fn required(&self, name: &'static str, takes: &'static str) -> Result<String, ConfigError> {
        self.given(name, "").ok_or(ConfigError::Missing { name, takes })
    }

    /// What `parse` makes of a setting.
    pub(super) fn with<T>(
        &self,
        name: &'static str,
        default: &'static str,
        takes: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let value = self.text(name, default);
        parse(value.trim()).ok_or(ConfigError::Unusable { name, value, takes })
    }

    pub(super) fn parsed<T: FromStr>(
        &self,
        name: &'static str,
        default: &'static str,
        takes: &'static str,
    ) -> Result<T, ConfigError> {
        self.with(name, default, takes, |value| value.parse().ok())
    }

    /// A setting without a default.
    pub(super) fn optional<T>(
        &self,
        name: &'static str,
        takes: &'static str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        match self.given(name, "") {
            None => Ok(None),
            Some(value) => parse(value.trim()).map(Some).ok_or(ConfigError::Unusable { name, value, takes }),
        }
    }
}

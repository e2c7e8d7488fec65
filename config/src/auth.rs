//! `[auth]` and `[[acl]]`: who may connect, and who may do what where.

use crate::reader::{Reader, defaults};
use sealmq_protocol::TopicFilter;
use std::path::PathBuf;

/// Who may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// Whether a client without user name may connect. False needs a password file or a sender.
    /// Default: true.
    pub allow_anonymous: bool,
    /// `user:hash` lines, argon2id and SCRAM, made by `sealmq passwd`. None: any user name and password pass
    /// where `allow_anonymous` is true, and none where it is false.
    pub password_file: Option<PathBuf>,
    /// Client ids must start with one of these; empty: any may be used.
    pub client_id_prefixes: Vec<String>,
}

impl Auth {
    pub(crate) fn read(section: &mut Reader<'_>) -> Self {
        Self {
            allow_anonymous: section.boolean("allow_anonymous", true),
            password_file: section.path_optional("password_file"),
            client_id_prefixes: section.strings("client_id_prefixes"),
        }
    }
}

impl Default for Auth {
    fn default() -> Self {
        defaults(Self::read)
    }
}

/// One rule: the first that fits client, access and topic counts; where rules exist and none fits,
/// the answer is no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AclRule {
    /// Only for this user name. None: for all.
    pub user: Option<String>,
    /// Only for this client id. None: for all.
    pub client: Option<String>,
    /// What the rule is about.
    pub access: Access,
    /// Whether it allows or denies. Default: allow.
    pub permission: Permission,
    /// On which topics; `%u` and `%c` as a whole level stand for user name and client id.
    pub topics: Vec<TopicFilter>,
}

impl AclRule {
    pub(crate) fn read(rule: &mut Reader<'_>) -> Option<Self> {
        let user = rule.text_optional("user");
        let client = rule.text_optional("client");
        let access = rule.choice("access", &Access::NAMES, None);
        let permission = rule.choice("permission", &Permission::NAMES, Some(Permission::Allow));
        let topics = rule.filters("topics");
        Some(Self { user, client, access: access?, permission: permission?, topics: topics? })
    }
}

/// What an ACL rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Sending messages.
    Publish,
    /// Receiving messages.
    Subscribe,
    /// Both.
    All,
}

impl Access {
    const NAMES: [(&'static str, Self); 3] =
        [("publish", Self::Publish), ("subscribe", Self::Subscribe), ("all", Self::All)];
}

/// What an ACL rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Yes.
    Allow,
    /// No.
    Deny,
}

impl Permission {
    const NAMES: [(&'static str, Self); 2] = [("allow", Self::Allow), ("deny", Self::Deny)];
}

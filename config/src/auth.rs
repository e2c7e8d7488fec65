//! `[auth]` and `[[acl]]`: who may connect, and who may do what where.

use sealmq_protocol::TopicFilter;
use std::path::PathBuf;

/// Who may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// Whether a client without user name may connect. Default: true.
    pub allow_anonymous: bool,
    /// `user:hash` lines, argon2id, made by `sealmq passwd`. None: any user name and password pass
    /// where `allow_anonymous` is true, and none where it is false.
    pub password_file: Option<PathBuf>,
    /// Client ids must start with one of these; empty: any may be used.
    pub client_id_prefixes: Vec<String>,
}

/// One rule: the first that fits client, access and topic counts; where rules exist and none fits,
/// the answer is no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AclRule {
    /// Only for this user name.
    pub user: Option<String>,
    /// Only for this client id.
    pub client: Option<String>,
    /// What the rule is about.
    pub access: Access,
    /// Whether it allows or denies. Default: allow.
    pub permission: Permission,
    /// On which topics; `%u` and `%c` as a whole level stand for user name and client id.
    pub topics: Vec<TopicFilter>,
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

/// What an ACL rule says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Yes.
    Allow,
    /// No.
    Deny,
}

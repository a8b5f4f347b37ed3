-- The schema of Kapi's first release.
-- Expand/contract: a migration only adds (tables, columns with a constant default, indexes), so that the program of the
-- release before works on it. What nothing uses any more is dropped one release later, in a migration of its own.
-- Times are UTC microseconds since 1970, 0 = none. Ids are made by the program: no sequences, triggers or functions, and
-- no foreign keys, so that any table can be spread over nodes. Sealed columns are opaque bytes.
-- +goose Up
-- keys: the root key wraps them; the file of the root is not here
CREATE TABLE wrapped_keys (
    purpose TEXT NOT NULL,
    id INTEGER NOT NULL,
    wrapped BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (purpose, id)
) STRICT, WITHOUT ROWID;

-- accounts: no word of personal data. Kept for good; updated rarely
CREATE TABLE accounts (
    id TEXT NOT NULL,
    state TEXT NOT NULL,
    ceiling INTEGER NOT NULL,
    two_factor INTEGER NOT NULL,
    two_factor_since INTEGER NOT NULL,
    proofs_since INTEGER NOT NULL DEFAULT 0,
    locale TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (id)
) STRICT, WITHOUT ROWID;

-- people: what the civil registry says (sealed), phone and e-mail (sealed), found by a blind index of the ID number
CREATE TABLE people (
    account_id TEXT NOT NULL,
    national_id BLOB NOT NULL,
    data BLOB NOT NULL,
    contacts BLOB NOT NULL,
    PRIMARY KEY (account_id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX people_national_id ON people (national_id);

-- national_ids: which ID number (sealed, and its blind index) an account had since when; the present one has until_at 0
CREATE TABLE national_ids (
    account_id TEXT NOT NULL,
    national_id BLOB NOT NULL,
    since_at INTEGER NOT NULL,
    until_at INTEGER NOT NULL,
    number BLOB NOT NULL,
    PRIMARY KEY (account_id, national_id)
) STRICT, WITHOUT ROWID;

-- person_keys: seals the personal fields of the audit record; deleting the row erases them and keeps the chain
CREATE TABLE person_keys (
    account_id TEXT NOT NULL,
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (account_id)
) STRICT, WITHOUT ROWID;

-- sessions: single sign-on. Retention: 90 days after the absolute end
CREATE TABLE sessions (
    id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    token BLOB NOT NULL,
    level INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    data BLOB NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX sessions_token ON sessions (token);
CREATE INDEX sessions_account ON sessions (account_id);
CREATE INDEX sessions_expires ON sessions (expires_at);

-- signin_transactions: sign-ins under way. "was" is the state before done. Retention: 1 day after the end
CREATE TABLE signin_transactions (
    id TEXT NOT NULL,
    browser BLOB NOT NULL,
    state TEXT NOT NULL,
    was TEXT NOT NULL,
    ask BLOB NOT NULL,
    progress BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (id)
) STRICT, WITHOUT ROWID;
CREATE INDEX signin_transactions_expires ON signin_transactions (expires_at);

-- grants: first a code (hash), then a refresh family. Retention: 1 day after the session's absolute end
CREATE TABLE grants (
    id TEXT NOT NULL,
    client TEXT NOT NULL,
    account_id TEXT NOT NULL,
    session_id TEXT NOT NULL,
    session_ends INTEGER NOT NULL,
    facts BLOB NOT NULL,
    code BLOB NOT NULL,
    redirect_uri TEXT NOT NULL,
    challenge TEXT NOT NULL,
    code_expires INTEGER NOT NULL,
    redeemed_at INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    rotated_at INTEGER NOT NULL,
    refreshed_by INTEGER NOT NULL,
    revoked_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX grants_code ON grants (code);
CREATE INDEX grants_session ON grants (session_id);
CREATE INDEX grants_session_ends ON grants (session_ends);

-- access_tokens: hashes of opaque tokens, or of the jti of a JWT that was revoked. Retention: 1 hour after expiry
CREATE TABLE access_tokens (
    hash BLOB NOT NULL,
    grant_id TEXT NOT NULL,
    client TEXT NOT NULL,
    scopes TEXT NOT NULL,
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER NOT NULL,
    PRIMARY KEY (hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX access_tokens_expires ON access_tokens (expires_at);

-- used_once: hashes of values that are good once (jti of client assertions). Retention: 10 minutes after expiry
CREATE TABLE used_once (
    kind TEXT NOT NULL,
    hash BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (kind, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX used_once_expires ON used_once (expires_at);

-- consents: which scopes a person agreed to for a client. Kept until replaced
CREATE TABLE consents (
    account_id TEXT NOT NULL,
    client TEXT NOT NULL,
    scopes TEXT NOT NULL,
    agreed_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, client)
) STRICT, WITHOUT ROWID;

-- clients: registrations; secrets are MACs. Kept
CREATE TABLE clients (
    id TEXT NOT NULL,
    data BLOB NOT NULL,
    version INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (id)
) STRICT, WITHOUT ROWID;

-- credentials: one secret of one person; only the clear columns can be compared. An absent handle is NULL. Kept until deleted
CREATE TABLE credentials (
    id TEXT NOT NULL,
    factor TEXT NOT NULL,
    account_id TEXT NOT NULL,
    handle TEXT,
    state TEXT NOT NULL,
    counter INTEGER NOT NULL,
    data BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX credentials_handle ON credentials (factor, handle);
CREATE INDEX credentials_account ON credentials (account_id, factor);

-- tickets: one-time things bound to a try; at most one for each binding and purpose. Retention: 1 day after expiry
CREATE TABLE tickets (
    id TEXT NOT NULL,
    factor TEXT NOT NULL,
    binding TEXT NOT NULL,
    purpose TEXT NOT NULL,
    account_id TEXT NOT NULL,
    secret BLOB NOT NULL,
    data BLOB NOT NULL,
    tries INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX tickets_binding ON tickets (binding, factor, purpose);
CREATE INDEX tickets_expires ON tickets (expires_at);

-- outbox: messages; body (sealed number and text) is wiped when the row is closed. An absent dedupe is NULL. Retention: 1 day after the deadline
CREATE TABLE outbox (
    id TEXT NOT NULL,
    channel TEXT NOT NULL,
    dedupe TEXT,
    account_id TEXT NOT NULL,
    body BLOB NOT NULL,
    ticket TEXT NOT NULL,
    state TEXT NOT NULL,
    deadline INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    gateway TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    closed_at INTEGER NOT NULL,
    PRIMARY KEY (id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX outbox_dedupe ON outbox (dedupe);
CREATE INDEX outbox_due ON outbox (due_at) WHERE closed_at = 0;
CREATE INDEX outbox_deadline ON outbox (deadline);

-- throttle_ladders: wrong answers in a row; key is a blind index. Retention: 24 hours idle, but a disabled one stays until it is cleared
CREATE TABLE throttle_ladders (
    key BLOB NOT NULL,
    failures INTEGER NOT NULL,
    until_at INTEGER NOT NULL,
    disabled INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (key)
) STRICT, WITHOUT ROWID;

-- throttle_windows: theoretical arrival times of up to four windows (GCRA); key is a blind index. Retention: 24 hours idle
CREATE TABLE throttle_windows (
    key BLOB NOT NULL,
    t1 INTEGER NOT NULL,
    t2 INTEGER NOT NULL,
    t3 INTEGER NOT NULL,
    t4 INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (key)
) STRICT, WITHOUT ROWID;

-- audit_pending: events that are not in the chain yet; the sealer moves them on every second
CREATE TABLE audit_pending (
    id TEXT NOT NULL,
    at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    name TEXT NOT NULL,
    outcome TEXT NOT NULL,
    actor TEXT NOT NULL,
    subject TEXT NOT NULL,
    client TEXT NOT NULL,
    session TEXT NOT NULL,
    request TEXT NOT NULL,
    sealed BLOB NOT NULL,
    PRIMARY KEY (id)
) STRICT, WITHOUT ROWID;

-- audit_log: the chain. Kept by law; rows are never updated
CREATE TABLE audit_log (
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    name TEXT NOT NULL,
    outcome TEXT NOT NULL,
    actor TEXT NOT NULL,
    subject TEXT NOT NULL,
    client TEXT NOT NULL,
    session TEXT NOT NULL,
    request TEXT NOT NULL,
    sealed BLOB NOT NULL,
    prev BLOB NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (seq)
) STRICT;
CREATE UNIQUE INDEX audit_log_id ON audit_log (id);
CREATE INDEX audit_log_subject ON audit_log (subject, at);

-- signing_keys: keys that sign tokens, sealed. Kept for the record of key ids
CREATE TABLE signing_keys (
    kid TEXT NOT NULL,
    alg TEXT NOT NULL,
    state TEXT NOT NULL,
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    published_at INTEGER NOT NULL,
    activates_at INTEGER NOT NULL,
    retires_at INTEGER NOT NULL,
    remove_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (kid)
) STRICT, WITHOUT ROWID;

-- leases: who leads (sealer, sweeper, key rotation) until when
CREATE TABLE leases (
    name TEXT NOT NULL,
    holder TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (name)
) STRICT, WITHOUT ROWID;

-- changes: raised by each write of the topic, so that replicas notice what a lost notification told
CREATE TABLE changes (
    topic TEXT NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (topic)
) STRICT, WITHOUT ROWID;

-- readiness: one row that readiness writes
CREATE TABLE readiness (
    id INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (id)
) STRICT;

INSERT INTO changes (topic, version) VALUES ('clients', 0), ('signing_keys', 0);

-- +goose Down
DROP TABLE readiness;
DROP TABLE changes;
DROP TABLE leases;
DROP TABLE signing_keys;
DROP TABLE audit_log;
DROP TABLE audit_pending;
DROP TABLE throttle_windows;
DROP TABLE throttle_ladders;
DROP TABLE outbox;
DROP TABLE tickets;
DROP TABLE credentials;
DROP TABLE clients;
DROP TABLE consents;
DROP TABLE used_once;
DROP TABLE access_tokens;
DROP TABLE grants;
DROP TABLE signin_transactions;
DROP TABLE sessions;
DROP TABLE person_keys;
DROP TABLE national_ids;
DROP TABLE people;
DROP TABLE accounts;
DROP TABLE wrapped_keys;

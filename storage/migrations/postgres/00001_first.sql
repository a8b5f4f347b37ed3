-- The schema of Kapi's first release.
-- Expand/contract: a migration only adds (tables, columns with a constant default, indexes), so that the program of the
-- release before works on it. What nothing uses any more is dropped one release later, in a migration of its own.
-- Times are UTC microseconds since 1970, 0 = none. Ids are made by the program: no sequences, triggers or functions, and
-- no foreign keys, so that any table can be spread over nodes. Sealed columns are opaque bytes.
-- +goose Up
-- keys: the root key wraps them; the file of the root is not here
CREATE TABLE wrapped_keys (
    purpose TEXT COLLATE "C" NOT NULL,
    id BIGINT NOT NULL,
    wrapped BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (purpose, id)
);

-- accounts: no word of personal data. Kept for good; updated rarely
CREATE TABLE accounts (
    id TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    ceiling BIGINT NOT NULL,
    two_factor BIGINT NOT NULL,
    two_factor_since BIGINT NOT NULL,
    proofs_since BIGINT NOT NULL DEFAULT 0,
    locale TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (id)
);

-- people: what the civil registry says (sealed), phone and e-mail (sealed), found by a blind index of the ID number
CREATE TABLE people (
    account_id TEXT COLLATE "C" NOT NULL,
    national_id BYTEA NOT NULL,
    data BYTEA NOT NULL,
    contacts BYTEA NOT NULL,
    PRIMARY KEY (account_id)
);
CREATE UNIQUE INDEX people_national_id ON people (national_id);

-- national_ids: which ID number (sealed, and its blind index) an account had since when; the present one has until_at 0
CREATE TABLE national_ids (
    account_id TEXT COLLATE "C" NOT NULL,
    national_id BYTEA NOT NULL,
    since_at BIGINT NOT NULL,
    until_at BIGINT NOT NULL,
    number BYTEA NOT NULL,
    PRIMARY KEY (account_id, national_id)
);

-- person_keys: seals the personal fields of the audit record; deleting the row erases them and keeps the chain
CREATE TABLE person_keys (
    account_id TEXT COLLATE "C" NOT NULL,
    sealed BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (account_id)
);

-- sessions: single sign-on. Retention: 90 days after the absolute end
CREATE TABLE sessions (
    id TEXT COLLATE "C" NOT NULL,
    account_id TEXT COLLATE "C" NOT NULL,
    token BYTEA NOT NULL,
    level BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    ended_at BIGINT NOT NULL,
    data BYTEA NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (id)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX sessions_token ON sessions (token);
CREATE INDEX sessions_account ON sessions (account_id);
CREATE INDEX sessions_expires ON sessions (expires_at);

-- signin_transactions: sign-ins under way. "was" is the state before done. Retention: 1 day after the end
CREATE TABLE signin_transactions (
    id TEXT COLLATE "C" NOT NULL,
    browser BYTEA NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    was TEXT COLLATE "C" NOT NULL,
    ask BYTEA NOT NULL,
    progress BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (id)
) WITH (fillfactor = 50);
CREATE INDEX signin_transactions_expires ON signin_transactions (expires_at);

-- grants: first a code (hash), then a refresh family. Retention: 1 day after the session's absolute end
CREATE TABLE grants (
    id TEXT COLLATE "C" NOT NULL,
    client TEXT COLLATE "C" NOT NULL,
    account_id TEXT COLLATE "C" NOT NULL,
    session_id TEXT COLLATE "C" NOT NULL,
    session_ends BIGINT NOT NULL,
    facts BYTEA NOT NULL,
    code BYTEA NOT NULL,
    redirect_uri TEXT COLLATE "C" NOT NULL,
    challenge TEXT COLLATE "C" NOT NULL,
    code_expires BIGINT NOT NULL,
    redeemed_at BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    rotated_at BIGINT NOT NULL,
    refreshed_by BIGINT NOT NULL,
    revoked_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (id)
) WITH (fillfactor = 60);
CREATE UNIQUE INDEX grants_code ON grants (code);
CREATE INDEX grants_session ON grants (session_id);
CREATE INDEX grants_session_ends ON grants (session_ends);

-- access_tokens: hashes of opaque tokens, or of the jti of a JWT that was revoked. Retention: 1 hour after expiry
CREATE TABLE access_tokens (
    hash BYTEA NOT NULL,
    grant_id TEXT COLLATE "C" NOT NULL,
    client TEXT COLLATE "C" NOT NULL,
    scopes TEXT COLLATE "C" NOT NULL,
    issued_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT NOT NULL,
    PRIMARY KEY (hash)
);
CREATE INDEX access_tokens_expires ON access_tokens (expires_at);

-- used_once: hashes of values that are good once (jti of client assertions). Retention: 10 minutes after expiry
CREATE TABLE used_once (
    kind TEXT COLLATE "C" NOT NULL,
    hash BYTEA NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (kind, hash)
);
CREATE INDEX used_once_expires ON used_once (expires_at);

-- consents: which scopes a person agreed to for a client. Kept until replaced
CREATE TABLE consents (
    account_id TEXT COLLATE "C" NOT NULL,
    client TEXT COLLATE "C" NOT NULL,
    scopes TEXT COLLATE "C" NOT NULL,
    agreed_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, client)
);

-- clients: registrations; secrets are MACs. Kept
CREATE TABLE clients (
    id TEXT COLLATE "C" NOT NULL,
    data BYTEA NOT NULL,
    version BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (id)
);

-- credentials: one secret of one person; only the clear columns can be compared. An absent handle is NULL. Kept until deleted
CREATE TABLE credentials (
    id TEXT COLLATE "C" NOT NULL,
    factor TEXT COLLATE "C" NOT NULL,
    account_id TEXT COLLATE "C" NOT NULL,
    handle TEXT COLLATE "C",
    state TEXT COLLATE "C" NOT NULL,
    counter BIGINT NOT NULL,
    data BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (id)
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX credentials_handle ON credentials (factor, handle);
CREATE INDEX credentials_account ON credentials (account_id, factor);

-- tickets: one-time things bound to a try; at most one for each binding and purpose. Retention: 1 day after expiry
CREATE TABLE tickets (
    id TEXT COLLATE "C" NOT NULL,
    factor TEXT COLLATE "C" NOT NULL,
    binding TEXT COLLATE "C" NOT NULL,
    purpose TEXT COLLATE "C" NOT NULL,
    account_id TEXT COLLATE "C" NOT NULL,
    secret BYTEA NOT NULL,
    data BYTEA NOT NULL,
    tries BIGINT NOT NULL,
    used_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (id)
) WITH (fillfactor = 70);
CREATE UNIQUE INDEX tickets_binding ON tickets (binding, factor, purpose);
CREATE INDEX tickets_expires ON tickets (expires_at);

-- outbox: messages; body (sealed number and text) is wiped when the row is closed. An absent dedupe is NULL. Retention: 1 day after the deadline
CREATE TABLE outbox (
    id TEXT COLLATE "C" NOT NULL,
    channel TEXT COLLATE "C" NOT NULL,
    dedupe TEXT COLLATE "C",
    account_id TEXT COLLATE "C" NOT NULL,
    body BYTEA NOT NULL,
    ticket TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    deadline BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    gateway TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    closed_at BIGINT NOT NULL,
    PRIMARY KEY (id)
);
CREATE UNIQUE INDEX outbox_dedupe ON outbox (dedupe);
CREATE INDEX outbox_due ON outbox (due_at) WHERE closed_at = 0;
CREATE INDEX outbox_deadline ON outbox (deadline);

-- throttle_ladders: wrong answers in a row; key is a blind index. Retention: 24 hours idle, but a disabled one stays until it is cleared
CREATE TABLE throttle_ladders (
    key BYTEA NOT NULL,
    failures BIGINT NOT NULL,
    until_at BIGINT NOT NULL,
    disabled BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (key)
) WITH (fillfactor = 50);

-- throttle_windows: theoretical arrival times of up to four windows (GCRA); key is a blind index. Retention: 24 hours idle
CREATE TABLE throttle_windows (
    key BYTEA NOT NULL,
    t1 BIGINT NOT NULL,
    t2 BIGINT NOT NULL,
    t3 BIGINT NOT NULL,
    t4 BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (key)
) WITH (fillfactor = 50);

-- audit_pending: events that are not in the chain yet; the sealer moves them on every second
CREATE TABLE audit_pending (
    id TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    client TEXT COLLATE "C" NOT NULL,
    session TEXT COLLATE "C" NOT NULL,
    request TEXT COLLATE "C" NOT NULL,
    sealed BYTEA NOT NULL,
    PRIMARY KEY (id)
);

-- audit_log: the chain. Kept by law; rows are never updated
CREATE TABLE audit_log (
    seq BIGINT NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    client TEXT COLLATE "C" NOT NULL,
    session TEXT COLLATE "C" NOT NULL,
    request TEXT COLLATE "C" NOT NULL,
    sealed BYTEA NOT NULL,
    prev BYTEA NOT NULL,
    hash BYTEA NOT NULL,
    PRIMARY KEY (seq)
);
CREATE UNIQUE INDEX audit_log_id ON audit_log (id);
CREATE INDEX audit_log_subject ON audit_log (subject, at);

-- signing_keys: keys that sign tokens, sealed. Kept for the record of key ids
CREATE TABLE signing_keys (
    kid TEXT COLLATE "C" NOT NULL,
    alg TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    sealed BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    published_at BIGINT NOT NULL,
    activates_at BIGINT NOT NULL,
    retires_at BIGINT NOT NULL,
    remove_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (kid)
);

-- leases: who leads (sealer, sweeper, key rotation) until when
CREATE TABLE leases (
    name TEXT COLLATE "C" NOT NULL,
    holder TEXT COLLATE "C" NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (name)
);

-- changes: raised by each write of the topic, so that replicas notice what a lost notification told
CREATE TABLE changes (
    topic TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (topic)
);

-- readiness: one row that readiness writes
CREATE TABLE readiness (
    id BIGINT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (id)
);

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

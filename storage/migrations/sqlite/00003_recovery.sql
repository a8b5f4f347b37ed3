-- +goose Up
-- recoveries: new passwords for forgotten ones, under way. Retention: 1 day after the end
CREATE TABLE recoveries (
    id TEXT NOT NULL,
    browser BLOB NOT NULL,
    state TEXT NOT NULL,
    progress BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (id)
) STRICT, WITHOUT ROWID;
CREATE INDEX recoveries_expires ON recoveries (expires_at);

-- holds: changes that can be undone, or wait, until due_at; token is the hash of the link that undoes, code the MAC of the code that
-- does the same. Retention: 90 days after due_at, once closed
CREATE TABLE holds (
    id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    what TEXT NOT NULL,
    state TEXT NOT NULL,
    data BLOB NOT NULL,
    token BLOB NOT NULL,
    code BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    closed_at INTEGER NOT NULL,
    PRIMARY KEY (id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX holds_open ON holds (account_id, what) WHERE closed_at = 0;
CREATE UNIQUE INDEX holds_token ON holds (token);
CREATE INDEX holds_due ON holds (due_at) WHERE closed_at = 0;
CREATE INDEX holds_over ON holds (due_at);

-- a person's open tickets are voided together
CREATE INDEX tickets_account ON tickets (account_id);

-- +goose Down
DROP INDEX tickets_account;
DROP TABLE holds;
DROP TABLE recoveries;

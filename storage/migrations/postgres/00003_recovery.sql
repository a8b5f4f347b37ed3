-- +goose Up
-- recoveries: new passwords for forgotten ones, under way. Retention: 1 day after the end
CREATE TABLE recoveries (
    id TEXT COLLATE "C" NOT NULL,
    browser BYTEA NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    progress BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX recoveries_expires ON recoveries (expires_at);

-- holds: changes that can be undone, or wait, until due_at; token is the hash of the link that undoes, code the MAC of the code that
-- does the same. Retention: 90 days after due_at, once closed
CREATE TABLE holds (
    id TEXT COLLATE "C" NOT NULL,
    account_id TEXT COLLATE "C" NOT NULL,
    what TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL,
    data BYTEA NOT NULL,
    token BYTEA NOT NULL,
    code BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    closed_at BIGINT NOT NULL,
    PRIMARY KEY (id)
);
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

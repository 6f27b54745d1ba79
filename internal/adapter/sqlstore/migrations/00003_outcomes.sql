-- +goose Up
ALTER TABLE test_runs ADD COLUMN num BIGINT NOT NULL DEFAULT 0;
CREATE INDEX test_runs_num ON test_runs (num);
CREATE TABLE test_results (id TEXT PRIMARY KEY, rev BIGINT NOT NULL, body TEXT NOT NULL);
CREATE TABLE coverage (id TEXT PRIMARY KEY, run_id TEXT NOT NULL, rev BIGINT NOT NULL, body TEXT NOT NULL);
CREATE INDEX coverage_run ON coverage (run_id);
CREATE TABLE coverage_files (id TEXT PRIMARY KEY, rev BIGINT NOT NULL, body TEXT NOT NULL);
CREATE TABLE attachments (id TEXT PRIMARY KEY, run_id TEXT NOT NULL, key TEXT NOT NULL UNIQUE, rev BIGINT NOT NULL, body TEXT NOT NULL);
CREATE INDEX attachments_run ON attachments (run_id);
CREATE TABLE artifact_links (id TEXT PRIMARY KEY, run_id TEXT NOT NULL, key TEXT NOT NULL UNIQUE, rev BIGINT NOT NULL, body TEXT NOT NULL);
CREATE INDEX artifact_links_run ON artifact_links (run_id);

-- +goose Down
SELECT 1;

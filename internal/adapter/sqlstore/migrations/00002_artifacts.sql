-- +goose Up
CREATE TABLE artifact_uses (id TEXT PRIMARY KEY, project_id TEXT NOT NULL, rev BIGINT NOT NULL, body TEXT NOT NULL);
CREATE INDEX artifact_uses_project ON artifact_uses (project_id);

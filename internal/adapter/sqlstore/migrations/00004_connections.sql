-- +goose Up
CREATE TABLE service_connections (id TEXT PRIMARY KEY, project_id TEXT NOT NULL, key TEXT NOT NULL UNIQUE, rev BIGINT NOT NULL, body TEXT NOT NULL);
CREATE INDEX service_connections_project ON service_connections (project_id);
CREATE TABLE secure_files (id TEXT PRIMARY KEY, project_id TEXT NOT NULL, key TEXT NOT NULL UNIQUE, rev BIGINT NOT NULL, body TEXT NOT NULL);
CREATE INDEX secure_files_project ON secure_files (project_id);
CREATE TABLE secure_file_contents (id TEXT PRIMARY KEY, rev BIGINT NOT NULL, body TEXT NOT NULL);

-- +goose Down
SELECT 1;

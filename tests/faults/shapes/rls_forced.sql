-- Row-level security that binds the owner, too
-- refused: not-restorable
-- names: secrets
CREATE TABLE secrets (id integer PRIMARY KEY, tenant text);
INSERT INTO secrets VALUES (1, 'a'), (2, 'b');
ALTER TABLE secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE secrets FORCE ROW LEVEL SECURITY;
CREATE POLICY mine ON secrets USING (tenant = current_setting('app.tenant', true));

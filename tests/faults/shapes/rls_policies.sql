-- Row-level policies of many kinds, for roles and for everybody
CREATE TABLE secrets (id integer PRIMARY KEY, tenant text);
INSERT INTO secrets VALUES (1, 'a'), (2, 'b');
ALTER TABLE secrets ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON secrets USING (tenant = current_setting('app.tenant', true)) WITH CHECK (tenant <> '');
CREATE POLICY narrow ON secrets AS RESTRICTIVE FOR SELECT TO PUBLIC USING (id > 0);
CREATE POLICY theirs ON secrets FOR UPDATE TO :"other" USING (id IN (1, 2)) WITH CHECK (id BETWEEN 1 AND 9);
CREATE TABLE dormant (id integer);
CREATE POLICY asleep ON dormant USING (true);

-- An app whose owner may not create schemas, and uses public alone
-- refused: any
-- names: schema
CREATE TABLE things (id serial PRIMARY KEY);
INSERT INTO things DEFAULT VALUES;
-- part: superuser
REVOKE CREATE ON DATABASE :"database" FROM :"owner";

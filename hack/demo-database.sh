# shellcheck shell=bash disable=SC2154
# The steps of hack/demo.sh with a database: a Postgres of the testbed. It is sourced. No password is an argument of a
# program, because everybody on a machine sees those.

sql() { # sql DATABASE, with the statements on standard input
    env "${postgres[@]}" /usr/lib/postgresql/15/bin/psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --dbname "$1" --file=-
}

show_sql() { # show_sql DATABASE STATEMENT
    printf '\n%s=# %s\n' "$1" "$2"
    sql "$1" <<<"$2"
}

located() { printf '%s\n' "${postgres[@]}" | sed -n "s/^$1=//p"; }

start_database() {
    local facts
    facts=$("$checkout/target/debug/testbed" database)
    mapfile -t postgres <<<"$facts"
    address=$(located PGHOST):$(located PGPORT)
    note "Postgres at $address"
}

# The app's role owns its database, and the verifying one has the grants of docs/postgres.md.
make_roles() { # make_roles APP_PASSWORD_FILE AUDITOR_PASSWORD_FILE
    sql postgres <<SQL
SELECT format('CREATE ROLE %I', role) FROM unnest(ARRAY['studio', 'auditor']) role WHERE to_regrole(role) IS NULL \gexec
ALTER ROLE studio LOGIN PASSWORD '$(<"$1")';
ALTER ROLE auditor LOGIN PASSWORD '$(<"$2")';
SELECT 'CREATE DATABASE studio OWNER studio' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'studio') \gexec
GRANT pg_read_all_settings TO auditor;
GRANT SET ON PARAMETER pgaudit.log_client TO auditor;
SQL
    sql studio <<SQL
GRANT EXECUTE ON FUNCTION pg_current_logfile(), pg_stat_file(text), pg_read_binary_file(text, bigint, bigint) TO auditor;
GRANT SELECT (rolname, rolpassword) ON pg_authid TO auditor;
SQL
}

# Each folder becomes a Secret with a key per file; the superuser's has the form that CloudNativePG gives it.
make_secrets() {
    [[ -z $(kubectl get secret studio-app-values --namespace $namespace --ignore-not-found -o name) ]] || return 0
    mkdir -p db-superuser db-auditor app-values db-ca
    local password
    cut -d : -f 5 "$(located PGPASSFILE)" | tr -d '\n' >db-superuser/password
    openssl rand -hex 24 | tr -d '\n' >db-auditor/password
    openssl rand -hex 24 | tr -d '\n' >app-values/DATABASE_PASSWORD
    make_roles app-values/DATABASE_PASSWORD db-auditor/password
    printf postgres | tee db-superuser/username >db-superuser/user
    located PGHOST | tr -d '\n' >db-superuser/host
    located PGPORT | tr -d '\n' >db-superuser/port
    printf studio >db-superuser/dbname
    password=$(<db-superuser/password)
    printf 'postgresql://postgres:%s@%s/studio' "$password" "$address" >db-superuser/uri
    printf auditor >db-auditor/username
    cp "$(located PGSSLROOTCERT)" db-ca/ca.crt
    printf 'postgres://studio@%s/studio?sslmode=verify-full&sslrootcert=/run/db/ca.crt' "$address" >app-values/DATABASE_URL
    openssl rand -hex 32 | tr -d '\n' >app-values/ENCRYPTION_KEY
    openssl genpkey -algorithm ed25519 >app-values/JWT_SIGNING_KEY
    for name in db-superuser db-auditor db-ca app-values; do
        kubectl create secret generic "studio-$name" --namespace $namespace --from-file=$name >/dev/null
    done
    show kubectl label secret studio-{db-superuser,db-auditor,db-ca,app-values} --namespace $namespace hardened.dev/service=studio
}

# Writes what the service gets for its database.
database_patch() {
    cat <<YAML
spec:
  postgres:
    connection:
      secretRef: {name: studio-db-superuser}
      verifierSecretRef: {name: studio-db-auditor}
      # The verifier's Secret is a name and a password.
      host: ${address%:*}
      port: ${address##*:}
      database: studio
    tls:
      caSecretRef: {name: studio-db-ca}
    verifyInterval: 5s
  secrets:
    delivery: files
    sources:
      - secret: {name: studio-app-values}
  network:
    egressTo:
      - cidr: ${address%:*}/32
        ports: [{port: ${address##*:}}]
  workload:
    volumes:
      - {name: db-ca, mountPath: /run/db, secret: {secretName: studio-db-ca}}
YAML
}

database_says() {
    kubectl get hsvc studio --namespace $namespace -o 'jsonpath={.status.conditions[?(@.type=="DatabaseReady")].message}'
}

show_evidence() {
    show kubectl wait hsvc/studio --namespace $namespace --for=condition=DatabaseReady --timeout=2m
    note "DatabaseReady: $(database_says)"
    printf '\n$ kubectl get hsvc studio --namespace %s -o jsonpath={.status.database}\n' $namespace
    kubectl get hsvc studio --namespace $namespace -o 'jsonpath={.status.database}' | python3 -m json.tool
    note "the line of that proof, in the server's own log:"
    sql postgres <<'SQL'
\pset format unaligned
\pset tuples_only on
SELECT line FROM regexp_split_to_table(pg_read_file(pg_current_logfile()), '\n') WITH ORDINALITY lines (line, number)
WHERE line LIKE '% auditor@studio %AUDIT: SESSION,%canary%' ORDER BY number DESC LIMIT 1;
SQL
}

api-server() { # api-server ARGUMENT...: the app's own program on this host, with the service's secrets
    local url
    url=$(secret DATABASE_URL)
    DATABASE_URL=${url%sslrootcert=*}sslrootcert=$(located PGSSLROOTCERT) DATABASE_PASSWORD=$(secret DATABASE_PASSWORD) \
        ENCRYPTION_KEY=$(secret ENCRYPTION_KEY) RUST_LOG=warn "$checkout/dist/api-server" "$@"
}

secret() { kubectl get secret studio-app-values --namespace $namespace -o "jsonpath={.data.$1}" | base64 --decode; }

use_app() { # use_app PORT
    local email site=https://studio.example.com:$1 token
    email=anna.$(openssl rand -hex 3)@example.com
    show api-server migrate up
    printf '{"email":"%s","password":"%s"}' "$email" "$(openssl rand -hex 16)" >login.json
    printf '\n$ api-server account add %s --role editor < password\n' "$email"
    sed -E 's/.*"password":"([^"]*)".*/\1/' login.json | api-server account add "$email" --role editor
    printf '%s\n' silent show-error fail-with-body 'max-time = 10' 'cacert = ca.crt' 'write-out = "\n"' \
        "resolve = \"studio.example.com:$1:127.0.0.1\"" 'header = "Content-Type: application/json"' >curl.conf
    printf '\n$ curl --config curl.conf %s/login --data @login.json\n' "$site"
    curl --config curl.conf "$site/login" --data @login.json >tokens
    sed -E 's/("(access|refresh)Token":"[^"]{12})[^"]*/\1.../g' tokens
    token=$(sed -E 's/.*"accessToken":"([^"]*)".*/\1/' tokens)
    printf 'Authorization: Bearer %s\n' "$token" >bearer
    show curl --config curl.conf --header @bearer "$site/videos" \
        --data '{"title":"Launch","url":"https://videos.example.com/launch.mp4","status":"published"}'
    show curl --config curl.conf --header @bearer "$site/videos?limit=1"
    note "without a token:"
    show curl --config curl.conf --no-fail-with-body "$site/videos"
    note "what the database holds of $email:"
    show_sql studio "SELECT role, left(encode(email, 'hex'), 32) || '...' AS email, octet_length(email) AS bytes
    FROM api.accounts ORDER BY created_at DESC LIMIT 1"
}

turn_audit_off() {
    local begin=$SECONDS
    show_sql postgres "ALTER DATABASE studio SET pgaudit.log = 'none'"
    show kubectl wait hsvc/studio --namespace $namespace --for=condition=DatabaseReady=False --timeout=2m
    note "DatabaseReady=False after $((SECONDS - begin))s: $(database_says)"
    show kubectl wait hsvc/studio --namespace $namespace --for=condition=DatabaseReady --timeout=2m
    note "DatabaseReady=True after $((SECONDS - begin))s: $(database_says)"
    show_sql postgres "SELECT unnest(setconfig) AS settings FROM pg_db_role_setting JOIN pg_database ON setdatabase = pg_database.oid
    WHERE datname = 'studio'"
}

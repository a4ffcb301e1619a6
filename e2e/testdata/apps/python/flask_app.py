"""A Flask app whose users sign in with Authlib. Its session is Flask's own: a signed cookie.

    flask_app.py ISSUER SITE CLIENT_ID

It listens on a free port of the loopback interface and prints that port.
"""

import sys

from authlib.integrations.flask_client import OAuth
from flask import Flask, redirect, session
from werkzeug.serving import make_server

issuer, site, client_id = sys.argv[1:]

app = Flask(__name__)
app.config.update(SECRET_KEY='the key of one test', SESSION_COOKIE_SECURE=True)
op = OAuth(app).register(
    'op',
    client_id=client_id,
    client_secret=client_id + '-secret',
    server_metadata_url=issuer + '/.well-known/openid-configuration',
    client_kwargs={'scope': 'openid'},
)


@app.get('/')
def welcome():
    return 'welcome'


@app.get('/login')
def login():
    return op.authorize_redirect(site + '/callback')


@app.get('/callback')
def callback():
    session['user'] = op.authorize_access_token()['userinfo']['sub']
    return redirect('/private')


@app.get('/private')
def private():
    if 'user' not in session:
        return redirect('/login')
    # Like any page that keeps something in the session: the cookie is another after it.
    session['views'] = session.get('views', 0) + 1
    return 'user: ' + session['user']


server = make_server('127.0.0.1', 0, app, threaded=True)
print(server.server_port, flush=True)
server.serve_forever()

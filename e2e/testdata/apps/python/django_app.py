"""A Django project whose users sign in with mozilla-django-oidc. Its sessions are in a database.

    django_app.py ISSUER SITE CLIENT_ID DIRECTORY

The database is in the directory. It listens on a free port of the loopback interface and prints
that port.
"""

import sys
from urllib.parse import urlsplit

import django
import requests
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.decorators import login_required
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import include, path
from werkzeug.serving import make_server

issuer, site, client_id, directory = sys.argv[1:]
metadata = requests.get(issuer + '/.well-known/openid-configuration', timeout=10).json()


def user_name(email, claims):
    return claims['sub']


settings.configure(
    SECRET_KEY='the key of one test',
    ALLOWED_HOSTS=[urlsplit(site).hostname],
    ROOT_URLCONF=__name__,
    DATABASES={
        'default': {
            'ENGINE': 'django.db.backends.sqlite3',
            'NAME': directory + '/db.sqlite3',
            'OPTIONS': {'timeout': 20},
        },
    },
    INSTALLED_APPS=[
        'django.contrib.auth',
        'django.contrib.contenttypes',
        'django.contrib.sessions',
        'mozilla_django_oidc',
    ],
    MIDDLEWARE=[
        'django.middleware.security.SecurityMiddleware',
        'django.contrib.sessions.middleware.SessionMiddleware',
        'django.middleware.common.CommonMiddleware',
        'django.middleware.csrf.CsrfViewMiddleware',
        'django.contrib.auth.middleware.AuthenticationMiddleware',
    ],
    AUTHENTICATION_BACKENDS=['mozilla_django_oidc.auth.OIDCAuthenticationBackend'],
    SECURE_PROXY_SSL_HEADER=('HTTP_X_FORWARDED_PROTO', 'https'),
    SESSION_COOKIE_SECURE=True,
    LOGIN_URL='oidc_authentication_init',
    LOGIN_REDIRECT_URL='/private',
    OIDC_RP_CLIENT_ID=client_id,
    OIDC_RP_CLIENT_SECRET=client_id + '-secret',
    OIDC_RP_SIGN_ALGO='RS256',
    OIDC_OP_AUTHORIZATION_ENDPOINT=metadata['authorization_endpoint'],
    OIDC_OP_TOKEN_ENDPOINT=metadata['token_endpoint'],
    OIDC_OP_USER_ENDPOINT=metadata['userinfo_endpoint'],
    OIDC_OP_JWKS_ENDPOINT=metadata['jwks_uri'],
    OIDC_USERNAME_ALGO=user_name,
)


def welcome(request):
    return HttpResponse('welcome')


@login_required
def private(request):
    return HttpResponse('user: ' + request.user.get_username())


urlpatterns = [
    path('', welcome),
    path('private', private),
    path('oidc/', include('mozilla_django_oidc.urls')),
]

django.setup()
call_command('migrate', verbosity=0)
# Else mozilla-django-oidc creates a user at the first sign-in, and fails at one of two at once.
for name in ('alice', 'bob'):
    get_user_model().objects.create_user(name, email=name + '@example.test')
server = make_server('127.0.0.1', 0, get_wsgi_application(), threaded=True)
print(server.server_port, flush=True)
server.serve_forever()

# Sends a message with Perl's Net::SMTP:
# HOST PORT CA MESSAGE RECIPIENTS MODE MECHANISM USER SECRET CERTIFICATE;
# CA is empty without TLS, MECHANISM for a client that says nothing of who it is.
use strict;
use warnings;
use Authen::SASL qw(Perl);
use Net::SMTP;

my ($host, $port, $ca, $message, $recipients, $mode, $mechanism, $user, $secret, $certificate) = @ARGV;
sub content { open(my $f, '<:raw', shift) or die $!; local $/; return scalar <$f> }
my %tls = (SSL_ca_file => $ca, SSL_verify_mode => 1, SSL_verifycn_name => $host);
%tls = (%tls, SSL_cert_file => $certificate, SSL_key_file => $certificate) if $certificate;
my @implicit = $ca && $mode eq 'implicit' ? (SSL => 1, %tls) : ();
my $s = Net::SMTP->new($host, Port => $port, Hello => 'client.example', Debug => $mechanism ne '', @implicit) or die "cannot connect: $@";
if ($ca && !@implicit) { $s->starttls(%tls) or die 'STARTTLS: ', $s->message }
if ($mechanism) {
    my $sasl = Authen::SASL->new(mechanism => $mechanism, callback => { user => $user, pass => $secret, authname => $user });
    $s->auth($sasl) or die 'AUTH: ', $s->code, ' ', $s->message;
}
$s->mail('sender@example.org', Bits => 8) or die 'MAIL: ', $s->message;
$s->to(split ' ', content($recipients)) or die 'RCPT: ', $s->message;
$s->data or die 'DATA: ', $s->message;
$s->datasend(content($message)) or die 'content: ', $s->message;
$s->dataend or die 'end of data: ', $s->message;
$s->quit;

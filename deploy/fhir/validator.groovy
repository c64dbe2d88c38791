// Reads one FHIR resource a line (JSON), writes one line of JSON for each: what HAPI's validator says of it as R4 4.0.1.
// The definitions come from the jars beside it; nothing is asked of the network. The Java runtime at hand has no
// compiler, so Groovy runs this.
import ca.uhn.fhir.context.FhirContext
import ca.uhn.fhir.context.support.DefaultProfileValidationSupport
import com.google.gson.Gson
import org.hl7.fhir.common.hapi.validation.support.CommonCodeSystemsTerminologyService
import org.hl7.fhir.common.hapi.validation.support.InMemoryTerminologyServerValidationSupport
import org.hl7.fhir.common.hapi.validation.support.ValidationSupportChain
import org.hl7.fhir.common.hapi.validation.validator.FhirInstanceValidator
import org.hl7.fhir.r5.utils.validation.constants.BestPracticeWarningLevel

def context = FhirContext.forR4()
def rules = new FhirInstanceValidator(new ValidationSupportChain(
    new DefaultProfileValidationSupport(context),
    new CommonCodeSystemsTerminologyService(context),
    new InMemoryTerminologyServerValidationSupport(context)))
rules.bestPracticeWarningLevel = BestPracticeWarningLevel.Ignore
rules.errorForUnknownProfiles = false  // guides are not shipped: a profile of theirs that is claimed gives a warning
def validator = context.newValidator().registerValidatorModule(rules)
def gson = new Gson()
def out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, "UTF-8")
System.in.eachLine("UTF-8") { line ->
    def messages = validator.validateWithResult(line).messages
    out.println(gson.toJson(messages.collect {
        [severity: it.severity.code, where: it.locationString ?: "", what: it.message.replaceAll(/\s+/, " ")]
    }))
}
